from __future__ import annotations

import contextlib
import datetime
import logging
import ssl
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from gatewright_controller.local.certificate_pin import Pin
from gatewright_controller.local.listener_tls import ListenerTls
from gatewright_documents.mistake import Invalid

from e2e.kit.certificates import DAY, Authority, authority

Pair = tuple[Path, Path]


@pytest.fixture
def signer(tmp_path: Path) -> Authority:
    return authority(tmp_path)


def listener(pair: Pair) -> ListenerTls:
    return ListenerTls(*map(str, pair))


def serial(tls: ListenerTls) -> int:
    """That of the certificate that a new connection gets."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    client = trusting.wrap_bio(to_client, to_server)
    server = tls.context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return x509.load_der_x509_certificate(client.getpeercert(binary_form=True) or b"").serial_number


def serial_of(pair: Pair) -> int:
    return x509.load_pem_x509_certificate(pair[0].read_bytes()).serial_number


def replace(files: Iterable[Path], *by: Path) -> None:
    """As programs that renew certificates do: one file after the other, each in one step."""
    for file, new in zip(files, by, strict=True):
        new.rename(file)


def words(records: list[logging.LogRecord]) -> list[str]:
    return [record.getMessage() for record in records]


@pytest.mark.parametrize(
    ("certificate", "key", "field", "expected"),
    [
        ("none", "web.key", "tlsCertificate", "none: expected a file that can be read, got: No such file or directory"),
        ("web.pem", "none", "tlsKey", "none: expected a file that can be read, got: No such file or directory"),
        ("text", "web.key", "tlsCertificate", "text: expected a PEM block CERTIFICATE, got none: name the certificate"),
        ("web.pem", "text", "tlsKey", "text: expected a PEM block PRIVATE KEY, got none: name the certificate's key"),
        ("authority.pem", "web.key", "tlsKey", "web.key: expected the key of the first certificate in "),
        ("web.pem", "locked", "tlsKey", "locked: expected a key without a passphrase, got an encrypted one: decrypt"),
    ],
)
def test_a_pair_that_cannot_be_used_is_refused(
    tmp_path: Path, signer: Authority, certificate: str, key: str, field: str, expected: str
) -> None:
    own_key = serialization.load_pem_private_key(signer.issue("web", "127.0.0.1")[1].read_bytes(), None)
    locking = serialization.BestAvailableEncryption(b"word")
    (tmp_path / "locked").write_bytes(
        own_key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locking)
    )
    (tmp_path / "text").write_text("hello")
    with pytest.raises(Invalid) as caught:
        listener((tmp_path / certificate, tmp_path / key))
    (mistake,) = caught.value.mistakes
    assert mistake.field == field
    assert mistake.message.startswith(f"{tmp_path}/{expected}")


def test_a_certificate_outside_its_time_is_served_with_a_warning(
    signer: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    later = signer.issue("later", "127.0.0.1", lived=-DAY / 2)
    tls = listener(later)
    tls.check()
    assert serial(tls) == serial_of(later)
    (warning,) = words(caplog.records)
    assert warning.startswith("the certificate of the management API is not valid before 20")
    assert warning.endswith("Z: clients refuse it; renew it in its file, which is read again")


def test_a_renewed_pair_is_used_once_both_files_are_there(signer: Authority, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    pair, new = signer.issue("web", "127.0.0.1"), signer.issue("new", "127.0.0.1")
    before, after = serial_of(pair), serial_of(new)
    tls = listener(pair)
    context = tls.context
    for _ in range(3):
        tls.check()
    assert tls.context is context
    replace(pair[:1], new[0])
    tls.check()  # a change, which counts if the next check sees the same
    replace(pair[1:], new[1])
    tls.check()
    assert serial(tls) == before
    tls.check()
    assert serial(tls) == after
    assert words(caplog.records) == ["the renewed certificate is used"]


def test_a_renewed_pair_that_cannot_be_used_is_logged_once_and_the_earlier_one_stays(
    signer: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    pair = signer.issue("web", "127.0.0.1")
    before = serial_of(pair)
    tls = listener(pair)
    other, later = signer.issue("other", "127.0.0.1"), signer.issue("later", "127.0.0.1", lived=-DAY / 2)
    changes: list[tuple[Callable[[], None], str]] = [
        (lambda: replace(pair[:1], other[0]), "expected the key of the first certificate"),
        (lambda: replace(pair, *later), "it is not valid before"),
        (lambda: pair[0].unlink(), "expected a file that can be read, got: No such file"),
    ]
    for change, reason in changes:
        caplog.clear()
        change()
        for _ in range(4):
            tls.check()
        (record,) = caplog.records
        assert record.getMessage() == "the renewed certificate cannot be used, the earlier one stays"
        assert reason in vars(record)["reason"]
        assert serial(tls) == before
    caplog.clear()
    good = signer.issue("good", "127.0.0.1")
    after = serial_of(good)
    replace(pair, *good)
    tls.check()
    tls.check()
    assert (serial(tls), words(caplog.records)) == (after, [])


def test_a_file_that_is_taken_away_while_it_is_read_ends_no_check(
    signer: Authority, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair, new = signer.issue("web", "127.0.0.1"), signer.issue("new", "127.0.0.1")
    tls = listener(pair)
    replace(pair, *new)
    after = serial_of(pair)
    with monkeypatch.context() as patched:
        patched.setattr("gatewright_controller.local.listener_tls.load_pair", vanished)
        tls.check()
        tls.check()
    assert words(caplog.records) == ["the renewed certificate cannot be used, the earlier one stays"]
    pair[0].touch()
    tls.check()
    tls.check()
    assert serial(tls) == after


def vanished(*_: object) -> list[str]:
    raise FileNotFoundError(2, "No such file or directory")


def test_a_certificate_that_expires_while_it_is_served_is_warned_of_once(
    signer: Authority, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = listener(signer.issue("web", "127.0.0.1"))
    now = datetime.datetime.now(datetime.UTC)
    monkeypatch.setattr("gatewright_controller.local.listener_tls.datetime", Clock(now + 2 * DAY))
    tls.check()
    tls.check()
    (warning,) = words(caplog.records)
    assert "has expired on " in warning


class Clock:
    def __init__(self, now: datetime.datetime) -> None:
        self._now = now

    def now(self, _: datetime.tzinfo) -> datetime.datetime:
        return self._now


def test_a_certificate_that_is_no_servers_is_refused(tmp_path: Path) -> None:
    pair = tmp_path / "client.pem", tmp_path / "client.key"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=x"
    subprocess.run(
        [*command.split(), "-addext", "extendedKeyUsage=clientAuth", "-out", pair[0], "-keyout", pair[1]],
        check=True, capture_output=True,
    )  # fmt: skip
    with pytest.raises(Invalid, match="expected the certificate of a TLS server, got one that is refused: un"):
        listener(pair)


def test_a_pin_trusts_the_certificate_itself_and_nothing_that_its_authorities_sign(
    tmp_path: Path, signer: Authority
) -> None:
    pair, other = signer.issue("web", "gateway.example"), signer.issue("other", "gateway.example")
    chain = tmp_path / "chain.pem"
    chain.write_bytes(pair[0].read_bytes() + signer.file.read_bytes())
    pin = Pin()
    pin.add(chain.read_text())
    assert accepts(pin, chain, pair[1])
    assert accepts(pin, *pair)
    assert not accepts(pin, *other)
    pin.add(other[0].read_text())
    assert accepts(pin, *other)
    with pytest.raises(ValueError, match="substring not found"):
        pin.add("")


def accepts(pin: Pin, chain: Path, key: Path) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return establishes(pin.context, context)


def establishes(trust: ssl.SSLContext, serving: ssl.SSLContext) -> bool:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trust.wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
    server = serving.wrap_bio(to_server, to_client, server_side=True)
    try:
        for side in (client, server, client, server, client):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    except ssl.SSLError:
        return False
    return bool(client.getpeercert())
