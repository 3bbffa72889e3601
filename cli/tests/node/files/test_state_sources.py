from __future__ import annotations

from pathlib import Path

import pytest
from gatewright_cli.node.files.state_sources import StateListen, StateSources

from e2e.kit.certificates import authority

PUBLIC = Path(__file__).parents[4] / "conformance" / "signed-state" / "public.pem"


def test_the_engine_is_given_absolute_paths_and_places_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "token").write_text("secret")
    sources = StateSources(("a state", "https://bucket/x?signature=hidden"), PUBLIC, 90.0, Path("token"))
    assert list(sources.mistakes()) == []
    assert sources.lines == f"{tmp_path}/a state\nhttps://bucket/x?signature=hidden\n"
    assert sources.engine_options(Path("/run/state-from")) == {
        "state-from": "/run/state-from",
        "state-authority": str(PUBLIC),
        "state-token": str(tmp_path / "token"),
        "state-oldest": "90.000s",
    }
    assert StateSources(authority=PUBLIC).engine_options(Path("x")) == {}, "nothing without a place"


def test_a_node_that_serves_a_state_needs_a_pair_and_a_token(tmp_path: Path) -> None:
    certificate, key = authority(tmp_path).issue("sibling", "127.0.0.1")
    served = StateSources(token=key, listen=StateListen("127.0.0.1:9444", certificate, key))
    assert list(served.mistakes()) == []
    assert served.engine_options(tmp_path) == {
        "state-token": str(key),
        "state-listen": "127.0.0.1:9444",
        "state-listen-certificate": str(certificate),
        "state-listen-key": str(key),
    }
    found = [*StateSources(listen=StateListen("here")).mistakes()]
    assert [sentence.partition(", got")[0] for sentence in found] == [
        "--state-listen: expected HOST:PORT",
        "--state-listen: expected --state-listen-certificate and --state-listen-key beside it",
        "--state-listen: expected --state-token-file beside it",
    ]


def test_each_mistake_has_its_option_and_a_cure(tmp_path: Path) -> None:
    private = tmp_path / "private.pem"
    private.write_text("-----BEGIN PRIVATE KEY-----")
    found = [*StateSources(("s3://bucket/x?signature=hidden",), None, token=tmp_path / "none").mistakes()]
    assert found == [
        "--state-from: expected a file or an http(s) URL, got s3://bucket/x",
        "--state-from: expected --state-authority beside it, got none: name the public key of the controller that signs"
        " states",
        f"--state-token-file: {tmp_path / 'none'}: expected a file that can be read, got: No such file or directory",
    ]
    (wrong,) = StateSources(("x",), private).mistakes()
    assert wrong.startswith(f"--state-authority: {private}: expected a public key in PEM, got another content: ")
