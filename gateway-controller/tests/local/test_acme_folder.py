from __future__ import annotations

import resource
from pathlib import Path

import pytest
from gatewright_controller.acme.challenges import challenge
from gatewright_controller.acme.placeholder import write_placeholders
from gatewright_controller.local import acme_folder as folder
from gatewright_controller.local.private_http import answer


def test_files_are_the_owners_alone_and_whole(tmp_path: Path) -> None:
    file = folder.certificate_file(tmp_path / "acme", "web")
    folder.write_private(file, b"one")
    folder.write_private(file, b"two")
    assert file.read_bytes() == b"two"
    assert file.stat().st_mode & 0o777 == 0o600
    assert {path.stat().st_mode & 0o777 for path in (file.parent, file.parent.parent)} == {0o700}
    assert list(file.parent.iterdir()) == [file]


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "web.pem"
    folder.write_private(file, b"one")
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, most[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            folder.write_private(file, b"x" * 4097)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
    assert (file.read_bytes(), list(tmp_path.iterdir())) == (b"one", [file])


def test_accounts_are_apart_by_their_directories(tmp_path: Path) -> None:
    assert folder.account_file(tmp_path, "https://a") != folder.account_file(tmp_path, "https://b")


@pytest.mark.parametrize("text", [None, "", "{"])
def test_for_a_file_that_cannot_be_read_none_is_returned(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "x.json").write_text(text)
    assert folder.read_json(tmp_path / "x.json") is None


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET /.well-known/acme-challenge/a-token_1 HTTP/1.1", 200),
        ("GET /.well-known/acme-challenge/a-token_1?x HTTP/1.1", 200),
        ("POST /.well-known/acme-challenge/a-token_1 HTTP/1.1", 404),
        ("GET /.well-known/acme-challenge/ HTTP/1.1", 404),
        ("GET /.well-known/acme-challenge/other HTTP/1.1", 404),
        ("GET /.well-known/acme-challenge/../certificates/web.pem HTTP/1.1", 404),
        ("GET /.well-known/acme-challenge//etc/passwd HTTP/1.1", 404),
        ("GET /a-token_1 HTTP/1.1", 404),
        ("", 404),
    ],
)
def test_only_tokens_are_answered(tmp_path: Path, line: str, status: int) -> None:
    folder.write_private(tmp_path / "challenges" / "a-token_1", b"the answer")
    folder.write_private(tmp_path / "certificates" / "web.pem", b"a key")
    response = answer(f"{line}\r\nhost: a.example\r\n\r\n".encode(), lambda path: challenge(tmp_path, path), "a/b")
    assert response.startswith(f"HTTP/1.1 {status} ".encode())
    assert response.endswith(b"the answer" if status == 200 else b"\r\n\r\n")


def test_a_placeholder_takes_no_certificates_place(tmp_path: Path) -> None:
    folder.write_private(folder.certificate_file(tmp_path, "there"), b"obtained")
    write_placeholders(tmp_path, {"there": ["a.example"], "new": ["b.example"]})
    assert folder.certificate_file(tmp_path, "there").read_bytes() == b"obtained"
    made = folder.certificate_file(tmp_path, "new")
    assert made.read_text().count("-----BEGIN") == 2
    assert made.stat().st_mode & 0o777 == 0o600
