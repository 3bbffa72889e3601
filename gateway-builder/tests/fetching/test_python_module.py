"""pythonmodule: fetched once, pinned by content, from a server that may be slow, wrong or hostile."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from gatewright_builder.fetching.archive import Limits
from gatewright_builder.fetching.source_request import FetchLimits
from gatewright_builder.mistake import BuildError
from gatewright_builder.origin import Kind, Origin, Pin
from gatewright_builder.tree import Tree, read_tree

if TYPE_CHECKING:
    from conftest import Server

Find = Callable[..., Origin]
SOURCE = "github.com/acme/gateway/policies/limit@v1.2.0"
PATH = "/acme/gateway/tar.gz/v1.2.0"
FILES = {"policy.py": b"# SPDX-License-Identifier: MIT\n", "policy-definition.yaml": b"name: limit\n"}


def tarball(files: Tree, folder: str = "gateway-1.2.0/policies/limit") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz", pax_headers={"comment": "c0ffee"}, format=tarfile.PAX_FORMAT) as made:
        for name, content in files.items():
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
    return file.getvalue()


@pytest.fixture
def module(find: Find, tmp_path: Path, fresh_cache: Path) -> Callable[..., Origin]:
    def found(pin: Pin | None = None, source: str = SOURCE) -> Origin:
        before = everything_but(fresh_cache, tmp_path)
        try:
            return find(tmp_path, Kind.PYTHON_MODULE, source, pin)
        finally:
            assert everything_but(fresh_cache, tmp_path) == before, "something was written outside the cache"
            assert list((fresh_cache / "scratch").glob("*")) == []

    return found


def everything_but(cache: Path, folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if not path.is_relative_to(cache)]


def refused(module: Callable[..., Origin], *arguments: object) -> str:
    with pytest.raises(BuildError) as caught:
        module(*arguments)
    return str(caught.value)


def test_a_folder_of_a_repository_is_fetched_and_pinned(module: Find, github: Server) -> None:
    github.answer(PATH, tarball(FILES))
    origin = module()
    assert read_tree(origin.folder) == FILES
    assert (origin.resolved, origin.licence) == (SOURCE, "MIT")
    assert origin.pin is not None
    assert origin.pin.commit == "c0ffee"
    assert github.asked == [(PATH, "")]
    module(origin.pin)
    assert len(github.asked) == 1, "the cache has what the lock names: no server is asked"


def test_a_busy_server_is_asked_again(module: Find, github: Server) -> None:
    github.answer(PATH, (503, {}, b""), (429, {}, b""), (200, {"Content-Length": "999999"}, b"cut"), tarball(FILES))
    assert read_tree(module().folder) == FILES
    assert len(github.asked) == 4


def test_a_server_that_stays_busy_is_reported(module: Find, github: Server) -> None:
    github.answer(PATH, (503, {}, b""))
    message = refused(module)
    assert message == (
        f"build.yaml:3: expected an archive of {SOURCE}, got HTTP 503 Service Unavailable;"
        " try again when the server can be reached; the cache does not have it"
    )
    assert len(github.asked) == 4


def test_offline_the_last_answer_will_do(module: Find, github: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    github.answer(PATH, tarball(FILES), (503, {}, b""))
    pin = module().pin
    assert module().pin == pin
    monkeypatch.setenv("GATEWRIGHT_GITHUB_URL", "http://127.0.0.1:1")
    assert module(pin).pin == pin, "no server at all, but the cache has what the lock names"
    assert "the cache does not have it" in refused(module)


def test_a_tag_that_moved_is_refused(module: Find, github: Server) -> None:
    github.answer(PATH, tarball(FILES | {"policy.py": b"evil"}))
    pin = Pin("0" * 64)
    message = refused(module, pin)
    assert f"expected {SOURCE} as build.lock has it, {pin.digest}, got " in message
    assert message.endswith("if that is meant to be so, take its entry out of build.lock")


def test_a_cache_that_was_tampered_with_is_fetched_anew(module: Find, github: Server) -> None:
    github.answer(PATH, tarball(FILES))
    origin = module()
    (origin.folder / "policy.py").write_bytes(b"evil")
    assert read_tree(module(origin.pin).folder) == FILES
    assert len(github.asked) == 2


def test_a_token_reaches_its_own_server_and_no_other_and_no_message(
    module: Find, github: Server, servers: Callable[[], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = servers()
    monkeypatch.setenv("GITHUB_TOKEN", "t0psecret")
    github.answer(PATH, (302, {"Location": f"{other.url}/t0psecret"}, b""))
    other.answer("/t0psecret", (404, {}, b""))
    message = refused(module)
    assert (github.asked, other.asked) == ([(PATH, "Bearer t0psecret")], [("/t0psecret", "")])
    assert "got HTTP 404 Not Found; check the repository and the ref; a private one needs a token in" in message
    assert "t0psecret" not in message


@pytest.mark.parametrize("fetch_limits", [FetchLimits(archive=Limits(packed=1000))])
def test_what_is_too_big_is_cut(module: Find, github: Server) -> None:
    github.answer(PATH, bytes(5000))
    assert f"expected an archive of {SOURCE}, got more than 1,000 bytes" in refused(module)


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (tarball(FILES, "/etc"), "in the archive of"),
        (tarball({"../../../../../evil": b""}), "'gateway-1.2.0/policies/limit/../../../../../evil'"),
        (b"<html>", "a whole gzipped tar archive"),
        (tarball(FILES, "gateway-1.2.0/elsewhere"), "no policies/limit in the archive of v1.2.0; check the folder"),
    ],
)
def test_a_wrong_archive_leaves_nothing(
    module: Find, github: Server, fresh_cache: Path, content: bytes, got: str
) -> None:
    github.answer(PATH, content)
    assert got in refused(module)
    assert list((fresh_cache / "sources").glob("*")) == []


def test_a_loop_of_redirects_ends(module: Find, github: Server) -> None:
    github.answer(PATH, (302, {"Location": PATH}, b""))
    assert "more than 5 redirects" in refused(module)
