"""Each style as its service documents it, changes by an attacker, and templates."""

import base64
import hmac
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sdk import testing
from sdk.policy import ImmediateResponse, RequestContext
from sdk.store import StoreFullError, StoreUnavailableError
from sdk.testing import MovedClock

policy = testing.load_policy(__file__)
OLD, NEW = "the secret until June", "the secret from June on"
TILL = "of the till, long"
KEYS = [{"name": name, "secret": secret} for name, secret in (("shop", OLD), ("shop", NEW), ("till", TILL))]
BODY = b'{"amount": 7, "note": "\xff\x00"}'
NOW = 1_764_115_200
GENERIC = {
    "signatureHeader": "X-Signature", "prefix": "", "algorithm": "sha256", "encoding": "hex",
    "timestampHeader": "X-Signature-Timestamp", "signed": "{timestamp}.{body}",
}  # fmt: skip


@pytest.fixture(autouse=True)
def time() -> Iterator[MovedClock]:
    with testing.clock() as clock:
        clock.advance(NOW - clock.now())
        yield clock


def params(style: str, keys: list[dict[str, str]] = KEYS, *, once: bool = False, **generic: str) -> dict[str, Any]:
    more = {"generic": GENERIC | generic} if style == "generic" else {}
    secret = [{"name": key["name"], "secret": testing.secret(key["secret"])} for key in keys]
    return testing.params(style=style, keys=secret, toleranceSeconds=300, replayProtection=once, **more)


def execute(params: dict[str, Any], headers: Any, body: bytes | None = BODY, **more: Any) -> tuple[Any, RequestContext]:
    with testing.prepared(policy, params) as prepared:
        ctx = testing.request("POST", headers=headers, body=body, prepared=prepared, **more)
        return policy.on_request(ctx, params), ctx


def signer(params: dict[str, Any], headers: Any, body: bytes | None = BODY, **more: Any) -> str:
    """Returns the name of the key that signed the request; the body of the refusal if no key did."""
    action, ctx = execute(params, headers, body, **more)
    if action is None:
        assert ctx.identity is not None
        assert ctx.identity.method == "hmac"
        return ctx.identity.subject
    assert isinstance(action, ImmediateResponse)
    assert action.status_code == 401
    assert action.headers["content-type"] == "application/problem+json"
    assert str(action.headers["www-authenticate"]).startswith("HMAC-SHA")
    assert ctx.identity is None
    return str(action.body)


def hexed(secret: str, message: bytes, algorithm: str = "sha256") -> str:
    return hmac.new(secret.encode(), message, algorithm).hexdigest()


def github(secret: str, body: bytes = BODY) -> dict[str, str]:
    return {"X-Hub-Signature-256": f"sha256={hexed(secret, body)}"}


def slack(secret: str, at: str = str(NOW), body: bytes = BODY) -> dict[str, str]:
    signature = hexed(secret, f"v0:{at}:".encode() + body)
    return {"X-Slack-Request-Timestamp": at, "X-Slack-Signature": f"v0={signature}"}


def stripe(*signatures: str, at: str = str(NOW)) -> dict[str, str]:
    return {"Stripe-Signature": ",".join([f"t={at}", *signatures])}


def v1(secret: str, at: str = str(NOW), body: bytes = BODY) -> str:
    return f"v1={hexed(secret, f'{at}.'.encode() + body)}"


def test_the_example_of_githubs_documentation() -> None:
    """https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries#testing-the-webhook-payload-validation"""
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    keys = [{"name": "github", "secret": "It's a Secret to Everybody"}]
    assert signer(params("github", keys), {"X-Hub-Signature-256": signature}, b"Hello, World!") == "github"


def test_the_example_of_slacks_documentation(time: MovedClock) -> None:
    """https://docs.slack.dev/authentication/verifying-requests-from-slack"""
    time.advance(1531420618 - NOW)
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name="
        b"foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2F"
        b"hooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015."
        b"47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    headers = {
        "X-Slack-Request-Timestamp": "1531420618",
        "X-Slack-Signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    }
    keys = [{"name": "slack", "secret": "8f742231b10e8888abcd99yyyzzz85a5"}]
    assert signer(params("slack", keys), headers, body) == "slack"


@pytest.mark.parametrize(("secret", "name"), [(OLD, "shop"), (NEW, "shop"), (TILL, "till")])
@pytest.mark.parametrize("body", [BODY, b"", None])
def test_any_key_is_accepted_and_becomes_the_identity(secret: str, name: str, body: bytes | None) -> None:
    sent = body or b""
    assert signer(params("github"), github(secret, sent), body) == name
    assert signer(params("slack"), slack(secret, body=sent), body) == name
    assert signer(params("stripe"), stripe(v1(secret, body=sent)), body) == name
    generic = {"X-Signature": hexed(secret, f"{NOW}.".encode() + sent), "X-Signature-Timestamp": str(NOW)}
    assert signer(params("generic"), generic, body) == name


def test_one_of_several_stripe_signatures_is_enough() -> None:
    assert signer(params("stripe"), stripe("v1=00", "v0=" + "0" * 64, v1(NEW), "v2=x")) == "shop"
    assert signer(params("stripe"), {"Stripe-Signature": f"t={NOW}, {v1(OLD)}"}) == "shop"


def test_hex_may_be_in_any_case() -> None:
    assert signer(params("github"), {"X-Hub-Signature-256": "sha256=" + hexed(OLD, BODY).upper()}) == "shop"


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_generic_scheme(algorithm: str) -> None:
    template = "{method}:{path}?{query}\n{timestamp}\n{body}"
    own = params("generic", algorithm=algorithm, encoding="base64", prefix="sig ", signed=template)
    message = f"POST:/a%20b?x=1&y\n{NOW}\n".encode() + BODY
    signature = base64.b64encode(hmac.digest(NEW.encode(), message, algorithm)).decode()
    headers = {"x-signature": f"sig {signature}", "x-signature-timestamp": str(NOW)}
    assert signer(own, headers, path="/a%20b", query="x=1&y") == "shop"
    for path, query in (("/a%20c", "x=1&y"), ("/a%20b", "x=1&y=2"), ("/a%20b", "")):
        assert "signature" in signer(own, headers, path=path, query=query)
    unpadded = {**headers, "x-signature": f"sig {signature.rstrip('=')}"}
    assert "signature" in signer(own, unpadded, path="/a%20b", query="x=1&y")
    action, _ = execute(own, {})
    assert action.headers["www-authenticate"] == f"HMAC-{algorithm.upper()}"


@pytest.mark.parametrize("header", [
    {}, {"X-Hub-Signature-256": ""}, {"X-Hub-Signature-256": "sha256="}, {"X-Hub-Signature-256": hexed(OLD, BODY)},
    {"X-Hub-Signature-256": "sha1=" + hexed(OLD, BODY)}, {"X-Hub-Signature-256": "sha256=" + "\udcff" * 64},
    {"X-Hub-Signature-256": "sha256=" + hexed(OLD, BODY)[:-1]}, {"X-Hub-Signature-256": "sha256= " + hexed(OLD, BODY)},
    {"X-Hub-Signature": "sha256=" + hexed(OLD, BODY)}, github("some other secret"), github(OLD, BODY + b" "),
])  # fmt: skip
def test_invalid_signatures_are_refused(header: Mapping[str, str]) -> None:
    assert '"status": 401' in signer(params("github"), header)


@pytest.mark.parametrize("body", [BODY + b" ", b"\n" + BODY, BODY[:-1], b"", None])
def test_another_body_is_refused(body: bytes | None) -> None:
    assert "signature" in signer(params("github"), github(OLD), body)
    assert "signature" in signer(params("stripe"), stripe(v1(OLD)), body)


@pytest.mark.parametrize("header", [
    f"{v1(OLD)}", f"t={NOW}", f"t={NOW},v0={hexed(OLD, f'{NOW}.'.encode() + BODY)}", f"t={NOW},t={NOW},{v1(OLD)}",
    f"t={NOW}," + ",".join([v1("other secret")] * 16 + [v1(OLD)]), f"T={NOW},{v1(OLD)}", "", ",", "=", "t=,v1=",
])  # fmt: skip
def test_a_malformed_stripe_signature_is_refused(header: str) -> None:
    assert '"status": 401' in signer(params("stripe"), {"Stripe-Signature": header})


def test_a_second_line_of_a_header_is_refused() -> None:
    """Also if both are valid: upstream gets both, and may read the other one."""
    for style, good in (("github", github(OLD)), ("slack", slack(OLD)), ("stripe", stripe(v1(OLD)))):
        for name, value in good.items():
            assert "expected one line of" in signer(params(style), [*good.items(), (name.lower(), value)])


@pytest.mark.parametrize("offset", [-300, -1, 0, 299, 300])
def test_a_time_within_the_tolerance_passes(offset: int) -> None:
    assert signer(params("slack"), slack(OLD, str(NOW + offset))) == "shop"


@pytest.mark.parametrize(
    "at", [str(NOW - 301), str(NOW + 301), "", "soon", "1e9", "٣", "9" * 5000, "-1", f" {NOW}", f"{NOW}.0", f"+{NOW}"]
)
def test_a_malformed_time_or_one_beyond_the_tolerance_is_refused(at: str) -> None:
    """Its signature is valid."""
    assert "expected a time of signing" in signer(params("slack"), slack(OLD, at))
    assert "expected a time of signing" in signer(params("stripe"), stripe(v1(OLD, at), at=at))


def test_a_replay_passes_within_the_tolerance_without_protection(time: MovedClock) -> None:
    recorded = slack(OLD)
    assert signer(params("slack"), recorded) == "shop"
    time.advance(301)
    assert "expected a time of signing" in signer(params("slack"), recorded)


@pytest.mark.parametrize(("template", "says"), [
    ("{timestamp}{body}", "anything but a digit after {timestamp}, got '{'"), ("{timestamp}0{body}", "got '0'"),
    ("{path}.{body}", "after {path}"), ("{path}{query} {body}", "after {path}"),
    ("{method}{path} {body}", "{method}"),
    ("{query}?{body}", "after {query}"),
])  # fmt: skip
def test_a_template_in_which_fields_run_into_each_other_is_refused(template: str, says: str) -> None:
    with (
        pytest.raises(ValueError, match=r"generic\.signed: expected") as refused,
        testing.prepared(policy, params("generic", signed=template)),
    ):
        pass
    assert says in str(refused.value)


@given(st.text(max_size=300), st.text(max_size=300), st.binary(max_size=50))
def test_headers_of_any_characters_get_an_answer(signature: str, at: str, body: bytes) -> None:
    """The answer is a refusal: the policy neither raises an exception nor lets the request pass."""
    for style, headers in (
        ("github", {"X-Hub-Signature-256": signature}),
        ("slack", {"X-Slack-Signature": signature, "X-Slack-Request-Timestamp": at}),
        ("stripe", {"Stripe-Signature": f"t={at},v1={signature}"}),
    ):
        assert '"status": 401' in signer(params(style), headers, body)


def test_answers_contain_no_secret_and_no_valid_signature() -> None:
    for headers in (github("some other secret"), {}):
        body = signer(params("github"), headers)
        assert not any(secret in body for secret in (OLD, NEW, hexed(OLD, BODY), hexed(NEW, BODY)))


def test_the_repr_of_a_verifier_shows_no_secret() -> None:
    with testing.prepared(policy, params("github")) as prepared:
        assert not any(secret in f"{prepared!r} {prepared}" for secret in (OLD, NEW, TILL))


def test_a_used_signature_is_refused_until_its_time_has_passed(time: MovedClock) -> None:
    once = params("stripe", once=True)
    recorded, ahead = stripe(v1(OLD)), stripe(v1(OLD, str(NOW + 300)), at=str(NOW + 300))
    with testing.store():
        assert [signer(once, headers) for headers in (recorded, ahead)] == ["shop", "shop"]
        for headers in (recorded, ahead, stripe("v1=00", v1(OLD).upper().replace("V1", "v1")), stripe(v1(NEW))):
            assert "used before" in signer(once, headers)
        time.advance(600)
        assert "used before" in signer(once, ahead)
        assert signer(once, stripe(v1(OLD, str(NOW + 600)), at=str(NOW + 600))) == "shop"


def test_all_signatures_of_a_request_are_marked_as_used() -> None:
    """A request with the signatures of two keys can be split into two valid ones: neither passes after it."""
    once = params("stripe", [{"name": "old", "secret": OLD}, {"name": "new", "secret": NEW}], once=True)
    with testing.store():
        assert signer(once, stripe(v1(OLD), v1(NEW))) == "old"
        for headers in (stripe(v1(NEW)), stripe(v1(OLD)), stripe(v1(NEW), v1(OLD))):
            assert "used before" in signer(once, headers)
    with testing.store():
        assert signer(once, stripe(v1(NEW))) == "new"
        assert "used before" in signer(once, stripe(v1(OLD), v1(NEW)))


def test_an_invalid_signature_marks_none_as_used() -> None:
    once = params("slack", once=True)
    with testing.store():
        assert '"status": 401' in signer(once, slack("some other secret"))
        assert signer(once, slack(OLD)) == "shop"


def test_without_the_store_no_request_passes() -> None:
    with testing.store() as store:
        store.away = True
        with pytest.raises(StoreUnavailableError):
            signer(params("slack", once=True), slack(OLD))


def test_a_full_store_refuses_requests_and_keeps_used_signatures() -> None:
    once = params("slack", once=True)
    with testing.store() as store:
        assert signer(once, slack(OLD)) == "shop"
        store.full = True
        with pytest.raises(StoreFullError):
            signer(once, slack(TILL))
        assert "used before" in signer(once, slack(OLD))


def test_without_a_time_a_replay_cannot_be_detected() -> None:
    with (
        pytest.raises(ValueError, match="replayProtection: expected"),
        testing.prepared(policy, params("github", once=True)),
    ):
        pass


def test_the_length_of_a_named_secret_is_checked() -> None:
    short = "15 characters.."
    wrong = params("github", [*KEYS, {"name": "short", "secret": short}])
    with (
        pytest.raises(ValueError, match=r"keys\[3\]\.secret: expected 16 characters and more") as refused,
        testing.prepared(policy, wrong),
    ):
        pass
    assert short not in str(refused.value)
