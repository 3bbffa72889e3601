from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from gatewright_cli.node.listeners.certificate_files import mistakes, mistakes_beside, unobtained
from gatewright_cli.node.listeners.gateway import Gateway

from e2e.kit.certificates import authority


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """web.pem and web.key, other.pem and other.key, and web.key encrypted."""
    made = tmp_path_factory.mktemp("tls")
    signs = authority(made)
    for name in ("web", "other"):
        signs.issue(name, f"{name}.example")
    key = serialization.load_pem_private_key((made / "web.key").read_bytes(), None)
    locking = serialization.BestAvailableEncryption(b"word")
    (made / "locked").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locking)
    )
    os.mkfifo(made / "pipe")
    with (made / "large").open("wb") as large:
        large.truncate(1 << 40)
    (made / "text").write_text("hello")
    (made / "broken").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    return made


def mistakes_of(folder: Path, **spec: object) -> list[str]:
    return [mistake.replace(f"{folder}/", "") for mistake in mistakes(Gateway({"spec": spec}))]


def pair(folder: Path, chain: str, key: str) -> dict[str, dict[str, str]]:
    return {"web": {"certificateFile": str(folder / chain), "keyFile": str(folder / key)}}


def test_unchanged_files_are_no_mistakes_of_a_change(folder: Path) -> None:
    bad, good = pair(folder, "text", "web.key"), pair(folder, "web.pem", "web.key")
    authorities = {"clients": {"file": str(folder / "text")}}
    before = Gateway({"spec": {"certificates": bad, "authorities": authorities}})
    after = Gateway({"spec": {"certificates": {**bad, "more": bad["web"]}, "authorities": authorities}})
    changed, unchanged = mistakes_beside(after, before)
    assert [sentence.split(":")[0] for sentence in changed] == ["certificate more"]
    assert [sentence.split(":")[0] for sentence in unchanged] == ["certificate web", "authority clients"]
    changed, unchanged = mistakes_beside(before, Gateway({"spec": {"certificates": good}}))
    assert [sentence.split(":")[0] for sentence in changed] == ["certificate web", "authority clients"]
    assert unchanged == []


def test_usable_files_are_no_mistakes(folder: Path) -> None:
    authorities = {"clients": {"file": str(folder / "web.pem")}}
    assert mistakes_of(folder, certificates=pair(folder, "web.pem", "web.key"), authorities=authorities) == []


@pytest.mark.parametrize(
    ("chain", "key", "expected"),
    [
        ("none", "web.key", "none: expected a file that can be read, got: No such file or directory"),
        ("web.pem", "none", "none: expected a file that can be read, got: No such file or directory"),
        ("web.pem", ".", ": expected a file that can be read, got: Is a directory"),
        ("pipe", "web.key", "pipe: expected a file that can be read, got a pipe or a device"),
        ("large", "web.key", "large: expected a PEM file of at most 8388608 bytes, got 1099511627776"),
        ("web.pem", "other.key", "other.key: expected the key of the first certificate in web.pem, got another one"),
        ("web.pem", "locked", "locked: expected a key without a passphrase, got an encrypted one: decrypt it (openssl"),
        ("text", "web.key", "text: expected a PEM block CERTIFICATE, got none: name the certificate, in PEM"),
        ("web.pem", "text", "text: expected a PEM block PRIVATE KEY, got none: name the certificate's key, in PEM"),
        ("broken", "web.key", "expected a certificate and its key in PEM, got broken and web.key: "),
    ],
)  # fmt: skip
def test_unusable_certificates_are_mistakes(folder: Path, chain: str, key: str, expected: str) -> None:
    (mistake,) = mistakes_of(folder, certificates=pair(folder, chain, key))
    assert mistake.startswith("certificate web: ")
    assert expected in mistake


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"file": "none"}, "none: expected a file that can be read, got: No such file or directory"),
        ({"file": "text"}, "text: expected a PEM file of the certificates that sign others, got one without"),
        ({"file": "broken"}, "broken: expected a PEM file of the certificates that sign others"),
        ({"file": "web.pem", "revocationFile": "text"}, "text: expected a PEM file of revocation lists"),
        ({"file": "web.pem", "revocationFile": "web.pem"}, "web.pem: expected a PEM file of revocation lists"),
    ],
)  # fmt: skip
def test_unusable_authorities_are_mistakes(folder: Path, files: dict[str, str], expected: str) -> None:
    named = {name: str(folder / file) for name, file in files.items()}
    (mistake,) = mistakes_of(folder, authorities={"clients": named})
    assert mistake.startswith(f"authority clients: {expected}")


def test_certificates_by_acme_have_no_files_and_need_a_controller(folder: Path) -> None:
    acme = {"web": {"acme": {"hosts": ["a.example"], "termsOfServiceAgreed": True}}}
    assert mistakes_of(folder, certificates=acme) == []
    gateway = Gateway({"spec": {"certificates": acme | pair(folder, "web.pem", "web.key")}})
    assert list(unobtained(gateway, controller=False)) == []
    gateway = Gateway({"spec": {"certificates": acme}})
    assert list(unobtained(gateway, controller=True)) == []
    assert list(unobtained(gateway, controller=False)) == [
        "certificate web: expected a controller, which obtains it by acme, got --no-controller:"
        " leave --no-controller out, or name certificateFile and keyFile"
    ]
