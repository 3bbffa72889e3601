"""Commands against a real controller with TLS: its authority by an option and by a context, and what is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from cli.tests.clients.test_management import API
from cli.tests.controller_process import TOKEN, controlling
from e2e.kit.certificates import DAY, Authority, authority

if TYPE_CHECKING:
    from cli.tests.conftest import Invoke

UNREACHABLE = 6


class Served(NamedTuple):
    """url, clear, later: of a controller with TLS, of one without, of one whose certificate is not valid yet."""

    url: str
    clear: str
    later: str
    signer: Authority
    stranger: Authority


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folders = (tmp_path_factory.mktemp(name) for name in ("tls", "c", "d", "e"))
    tls, with_tls, without, with_later = folders
    signer, stranger = authority(tls), authority(tls, "stranger")
    certificate, later = signer.issue("controller", "127.0.0.1"), signer.issue("later", "127.0.0.1", lived=-DAY / 2)
    with (
        controlling(with_tls, certificate=certificate) as encrypted,
        controlling(without) as clear,
        controlling(with_later, certificate=later) as refused,
    ):
        yield Served(encrypted.url, clear.url, refused.url, signer, stranger)


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWRIGHT_CONTROLLER_TOKEN", TOKEN)


def test_commands_reach_it_by_its_authority(served: Served, invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(API.replace("NAME", "one"))
    named = "--controller", served.url, "--controller-authority", str(served.signer.file)
    done = invoke("apply", "-f", str(tmp_path / "one.yaml"), "--no-wait", *named)
    assert (done.status, "one" in done.out) == (0, True), done
    assert invoke("get", "apis", "-o", "name", *named).out == "one\n"


def test_commands_reach_it_by_a_context(
    served: Served, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWRIGHT_CONTEXTS", str(tmp_path / "contexts.yaml"))
    (tmp_path / "token").write_text(TOKEN)
    added = invoke(
        "context", "add", "here", "--url", served.url, "--token-file", str(tmp_path / "token"),
        "--ca", str(served.signer.file),
    )  # fmt: skip
    assert added.status == 0, added
    done = invoke("list", "nodes", "--context", "here", "-o", "json")
    assert (done.status, done.out.strip()) == (0, "[]"), done


@pytest.mark.parametrize("command", [("get", "apis"), ("tail", "--kept"), ("inspector",)])
def test_what_keeps_tls_from_being_established_is_said_with_its_cure(
    command: tuple[str, ...], served: Served, invoke: Invoke
) -> None:
    own, other = ("--controller-authority", str(served.signer.file)), str(served.stranger.file)
    untrusted = r"its certificate is not trusted: .+; name the authority that signs it with --controller-authority, or"
    for url, trust, expected in (
        (served.url, (), untrusted),
        (served.url, ("--controller-authority", other), untrusted),
        (
            served.url.replace("127.0.0.1", "localhost"),
            own,
            r"not trusted: Hostname mismatch, .*'localhost'; name the controller by a host that the certificate is for",
        ),
        (served.later, own, r"not yet valid; renew it at the controller, or set the clock of this machine"),
        (
            served.clear.replace("http", "https"),
            own,
            r"expected TLS, got another protocol \(.+\): a controller without TLS has an http:// URL",
        ),
    ):
        done = invoke(*command, "--controller", url, *trust)
        assert done.status == UNREACHABLE, done
        assert re.search(rf"the controller at {url} gave no answer \(.*{expected}", done.err), done.err


@pytest.mark.parametrize("command", [("get", "apis"), ("tail", "--kept")])
def test_http_to_it_is_refused_with_the_cure(command: tuple[str, ...], served: Served, invoke: Invoke) -> None:
    done = invoke(*command, "--controller", served.url.replace("https", "http"))
    assert done.status == 1
    assert done.err == "error: 400 expected TLS, got a request in clear: use https:// for this port\n"
