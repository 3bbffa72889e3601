"""One thing asked of an authority, in a process of its own: what speaks ACME takes 40 MB, and blocks.

    python -P -m gatewright_controller.acme.obtaining

stdin: {"task": "obtain" | "look", "folder": PATH, "wanted": {…}}. stdout: {"begins", "ends", "renew", "look"}, of the
certificate that is in the folder now, or {"error", "kind", "wait"}.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests
from acme import challenges, client, crypto_util, errors, messages
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from josepy.errors import Error as EncodingError
from josepy.jwa import ES256
from josepy.jwk import JWKEC

from gatewright_controller.acme.schedule import Kind, Wanted
from gatewright_controller.local.acme_folder import (
    account_file,
    certificate_file,
    challenge_file,
    read_json,
    write_json,
    write_private,
)
from gatewright_controller.local.private import keep_private

ANSWER_SECONDS = 20
ORDER_SECONDS = 120
NONCE_TRIES = 10
LOOK_AGAIN = timedelta(hours=6)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
KEYS: dict[str, Callable[[], Key]] = {
    "ecdsa-p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ecdsa-p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "rsa-2048": lambda: rsa.generate_private_key(65537, 2048),
    "rsa-4096": lambda: rsa.generate_private_key(65537, 4096),
}


class Failure(Exception):  # noqa: N818 - it is reported, and is no fault
    """Why there is no certificate. wait: seconds that the authority asks for."""

    def __init__(self, kind: Kind, error: str, wait: float = 0.0) -> None:
        super().__init__(error)
        self.kind, self.wait = kind, wait


class Network(client.ClientNetwork):
    """Tries again when a nonce is refused, as often as is sensible, and keeps what the authority asks to wait."""

    wait = 0.0

    def post(self, *args: Any, **kwargs: Any) -> requests.Response:
        for tries_left in range(NONCE_TRIES, -1, -1):
            try:
                return super().post(*args, **kwargs)
            except messages.Error as error:
                if error.code != "badNonce" or not tries_left:
                    raise
        raise AssertionError

    def _send_request(self, method: str, url: str, *args: Any, **kwargs: Any) -> requests.Response:
        response = super()._send_request(method, url, *args, **kwargs)
        if not response.ok and "Retry-After" in response.headers:
            until = client.ClientV2.retry_after(response, 0)
            self.wait = max(0.0, (until - datetime.now()).total_seconds())
        return response


def main() -> None:
    """Once."""
    keep_private()
    os.umask(0o077)
    asked = json.load(sys.stdin)
    wanted = Wanted(**{**asked["wanted"], "hosts": tuple(asked["wanted"]["hosts"])})
    folder = Path(asked["folder"])
    try:
        with _failures(wanted):
            answer = _run_task(folder, wanted, asked["task"])
    except Failure as failure:
        answer = {"error": str(failure), "kind": failure.kind, "wait": failure.wait}
    json.dump(answer, sys.stdout)


def _run_task(folder: Path, wanted: Wanted, task: str) -> dict[str, Any]:
    network = _network(folder, wanted)
    try:
        authority = client.ClientV2(client.ClientV2.get_directory(wanted.directory, network), network)
        if task == "obtain":
            _obtain(folder, wanted, authority)
        return _suggestion(folder, wanted, authority)
    except (messages.Error, errors.IssuanceError) as error:
        refusal = error.error if isinstance(error, errors.IssuanceError) else error
        raise Failure("refused", f"{wanted.directory} refuses: {refusal.detail or refusal}", network.wait) from error


@contextlib.contextmanager
def _failures(wanted: Wanted) -> Iterator[None]:
    """What the libraries raise, in words."""
    try:
        yield
    except requests.exceptions.SSLError as error:
        cure = "name the authority that signs it by directoryAuthority, where the directory is private"
        raise Failure("unreachable", f"{wanted.directory}: its certificate is not trusted ({error}): {cure}") from error
    except (requests.exceptions.RequestException, ValueError, OSError) as error:
        raise Failure("unreachable", f"{wanted.directory} cannot be reached: {_brief(error)}") from error
    except errors.ValidationError as error:
        raise Failure("refused", "; ".join(_refusals(error))) from error
    except errors.TimeoutError as error:
        message = f"{wanted.directory} has not come to an end within {ORDER_SECONDS} s"
        raise Failure("unreachable", message) from error
    except (errors.Error, EncodingError) as error:
        raise Failure("refused", f"{wanted.directory}: {_brief(error)}") from error


def _brief(error: Exception) -> str:
    reason = error
    while (args := getattr(reason, "args", None)) and isinstance(args[0], Exception):
        reason = getattr(args[0], "reason", None) or args[0]
    return " ".join(str(reason).split())[:300]


def _refusals(error: errors.ValidationError) -> Iterator[str]:
    for authorization in error.failed_authzrs:
        reasons = [challenge.error.detail for challenge in authorization.body.challenges if challenge.error is not None]
        yield f"{authorization.body.identifier.value} is not proved to be ours: {'; '.join(map(str, reasons))}"


def _network(folder: Path, wanted: Wanted) -> Network:
    """With the account's key, which is made at the first time."""
    file = account_file(folder, wanted.directory)
    found = read_json(file)
    if found is None:
        found = {"directory": wanted.directory, "key": JWKEC(key=ec.generate_private_key(ec.SECP256R1())).to_json()}
        write_json(file, found)
    key = JWKEC.from_json(found["key"])
    verify: Any = wanted.directory_authority or True  # a file, or the system's authorities
    network = Network(key, alg=ES256, verify_ssl=verify, user_agent="gatewright", timeout=ANSWER_SECONDS)
    if found.get("url"):
        network.account = messages.RegistrationResource(uri=found["url"], body=messages.Registration())
    return network


def _obtain(folder: Path, wanted: Wanted, authority: client.ClientV2) -> None:
    if authority.net.account is None:
        _register(folder, wanted, authority)
    key = KEYS[wanted.key_type]().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    request = crypto_util.make_csr(key, list(wanted.hosts))
    try:
        order = authority.new_order(request)
    except messages.Error as error:
        if error.code != "accountDoesNotExist":
            raise
        authority.net.account = None
        _register(folder, wanted, authority)
        order = authority.new_order(request)
    with _answers(folder, authority, order):
        deadline = datetime.now() + timedelta(seconds=ORDER_SECONDS)
        order = authority.poll_and_finalize(order, deadline)
    write_private(certificate_file(folder, wanted.name), order.fullchain_pem.encode() + key)


def _register(folder: Path, wanted: Wanted, authority: client.ClientV2) -> None:
    """Terms are agreed to: the Gateway is refused where it does not say so."""
    agreed = messages.NewRegistration.from_data(email=wanted.email or None, terms_of_service_agreed=True)
    try:
        url = authority.new_account(agreed).uri
    except errors.ConflictError as known:
        url = known.location
        authority.net.account = messages.RegistrationResource(uri=url, body=messages.Registration())
    file = account_file(folder, wanted.directory)
    write_json(file, {**read_json(file), "url": url})


@contextlib.contextmanager
def _answers(folder: Path, authority: client.ClientV2, order: messages.OrderResource) -> Iterator[None]:
    """Challenges are answered as long as it takes: the controller reads these files."""
    files: list[Path] = []
    try:
        for authorization in order.authorizations:
            if authorization.body.status == messages.STATUS_VALID:
                continue  # the authority remembers it
            offered = [
                challenge
                for challenge in authorization.body.challenges
                if isinstance(challenge.chall, challenges.HTTP01)
            ]
            if not offered:
                raise Failure(
                    "refused", f"{authorization.body.identifier.value}: the authority offers no challenge by http-01"
                )
            response, content = offered[0].response_and_validation(authority.net.key)
            file = challenge_file(folder, offered[0].chall.encode("token"))
            if file is None:
                raise Failure("refused", "the authority's token is none (RFC 8555, 8.3)")
            write_private(file, content.encode())
            files.append(file)
            authority.answer_challenge(offered[0], response)
        yield
    finally:
        for file in files:
            file.unlink(missing_ok=True)


def _suggestion(folder: Path, wanted: Wanted, authority: client.ClientV2) -> dict[str, Any]:
    """Of the certificate that is there: its validity, and when its authority suggests to renew it (RFC 9773)."""
    text = certificate_file(folder, wanted.name).read_bytes()
    certificate = x509.load_pem_x509_certificate(text)
    try:
        renew, look = authority.renewal_time(text)
    except (errors.Error, EncodingError, ValueError, x509.ExtensionNotFound):
        renew, look = None, datetime.now() + LOOK_AGAIN
    return {
        "begins": certificate.not_valid_before_utc.timestamp(),
        "ends": certificate.not_valid_after_utc.timestamp(),
        "renew": renew and renew.replace(tzinfo=renew.tzinfo or UTC).timestamp(),
        "look": look.timestamp(),
    }


if __name__ == "__main__":
    main()
