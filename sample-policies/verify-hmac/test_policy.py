import hashlib
import hmac
import time

import pytest
from sdk.policy import ImmediateResponse

from sdk import testing

policy = testing.load_policy(__file__)
OLD, NEW = "the secret until June", "the secret from June on"
PARAMS = testing.params(
    secrets=[OLD, NEW], signatureHeader="X-Signature", timestampHeader="X-Signature-Timestamp", toleranceSeconds=300
)
BODY = b'{"amount": 7, "note": "\xff\x00"}'


def signature(secret: str, timestamp: str, body: bytes) -> str:
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def asked(signature: str, timestamp: str, body: bytes | None = BODY) -> object:
    headers = {"x-signature": signature, "x-signature-timestamp": timestamp}
    return policy.on_request(testing.request("POST", headers=headers, body=body), PARAMS)


def now(offset: int = 0) -> str:
    return str(int(time.time()) + offset)


@pytest.mark.parametrize("secret", [OLD, NEW])
@pytest.mark.parametrize("body", [BODY, b"", None])
def test_what_is_signed_with_any_of_the_secrets_passes(secret: str, body: bytes | None) -> None:
    at = now()
    assert asked(signature(secret, at, body or b""), at, body) is None
    assert asked(signature(secret, at, body or b"").upper(), at, body) is None


def test_another_body_time_or_secret_is_refused() -> None:
    at = now()
    for attempt in (
        asked(signature(OLD, at, BODY), at, BODY + b" "),
        asked(signature(OLD, at, BODY), now(-1), BODY),
        asked(signature("some other secret", at, BODY), at),
        asked("", at),
        asked("\udcff" * 64, at),
    ):
        assert isinstance(attempt, ImmediateResponse)
        assert attempt.status_code == 401
        assert "X-Signature:" in str(attempt.body)


@pytest.mark.parametrize("wrong", [-302, 302, "", "soon", "1e9", "٣", "9" * 5000, "-1"])
def test_a_time_that_is_none_or_too_far_away_is_refused(wrong: int | str) -> None:
    timestamp = now(wrong) if isinstance(wrong, int) else wrong
    attempt = asked(signature(OLD, timestamp, BODY), timestamp)
    assert isinstance(attempt, ImmediateResponse)
    assert "X-Signature-Timestamp:" in str(attempt.body)


def test_a_request_without_the_headers_is_refused() -> None:
    assert policy.on_request(testing.request("POST", body=BODY), PARAMS).status_code == 401


def test_a_second_line_of_a_header_is_refused() -> None:
    good = {"X-Signature-Timestamp": now(), "X-Signature": signature(OLD, now(), BODY)}
    assert policy.on_request(testing.request("POST", headers=good, body=BODY), PARAMS) is None
    for name, value in good.items():
        twice = testing.request("POST", headers=[*good.items(), (name, value)], body=BODY)
        assert policy.on_request(twice, PARAMS).status_code == 401
