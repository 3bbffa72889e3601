from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm, get_default_algorithms
from sdk import testing
from sdk.action import ActionError
from sdk.policy import Identity, ImmediateResponse

policy = testing.load_policy(__file__)
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEYS = {
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "ES512": ec.generate_private_key(ec.SECP521R1()),
}
ED_KEY = ed25519.Ed25519PrivateKey.generate()
ISSUER = "https://id.example"
NOW = 1_767_225_600  # the time of testing.clock
CLAIMS = {"iss": ISSUER, "aud": "orders", "sub": "ada", "scope": "read write", "exp": NOW + 60}
DEFAULTS: dict[str, Any] = {
    "scopes": [], "scopesMatch": "all", "requiredClaims": {}, "clockSkewSeconds": 30, "refreshSeconds": 300,
    "required": True, "token": {"in": "authorization"}, "maxTokenBytes": 8192, "forwardToken": True, "claimHeaders": {},
}  # fmt: skip


def jwk(key: Any, kid: str | None = "one", **more: Any) -> dict[str, Any]:
    kinds: dict[str, Any] = {"RSA": RSAAlgorithm, "EC": ECAlgorithm, "OKP": OKPAlgorithm}
    kind = (
        "RSA" if isinstance(key, rsa.RSAPrivateKey) else "EC" if isinstance(key, ec.EllipticCurvePrivateKey) else "OKP"
    )
    document: dict[str, Any] = json.loads(kinds[kind].to_jwk(key.public_key()))
    document.pop("key_ops", None)
    return document | ({"kid": kid} if kid is not None else {}) | more


def issuer(*keys: dict[str, Any], **more: Any) -> dict[str, Any]:
    defaults = {"algorithms": ["RS256", "ES256"], "types": ["JWT", "at+jwt"]}
    return {
        "issuer": ISSUER,
        "audiences": ["orders"],
        **defaults,
        "jwks": {"keys": list(keys) or [jwk(RSA_KEY)]},
        **more,
    }


def make_params(*issuers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return testing.params({**DEFAULTS, "issuers": list(issuers) or [issuer()], **more})


def encoded(part: object) -> str:
    raw = part if isinstance(part, bytes) else (part if isinstance(part, str) else json.dumps(part)).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(
    claims: object, key: Any = RSA_KEY, algorithm: str = "RS256", header: object = None, sign_by: str = ""
) -> str:
    """A token of any header and claims, signed by `sign_by` (else the algorithm that its header names)."""
    protected = {"alg": algorithm, "kid": "one"} if header is None else header
    text = f"{encoded(protected)}.{encoded(claims)}"
    signer = "EdDSA" if algorithm == "Ed25519" else algorithm  # PyJWT knows only the older name
    signature = get_default_algorithms()[sign_by or signer].sign(text.encode(), key)
    return f"{text}.{encoded(signature)}"


def token(key: Any = RSA_KEY, algorithm: str = "RS256", kid: str | None = "one", **claims: Any) -> str:
    header = {"alg": algorithm} | ({"kid": kid} if kid is not None else {})
    return signed(
        {name: value for name, value in (CLAIMS | claims).items() if value is not None}, key, algorithm, header
    )


def execute(prepared: Any, params: dict[str, Any], headers: Any = None, **request: Any) -> tuple[Any, Any]:
    """Returns the policy's action and the identity that it sets."""
    ctx = testing.request(headers=headers or [], prepared=prepared, **request)
    action = policy.on_request(ctx, params)
    return action, ctx.identity


def ask(params: dict[str, Any], *tokens: str, headers: Any = None, **request: Any) -> tuple[Any, Any]:
    async def run() -> tuple[Any, Any]:
        async with testing.prepared(policy, params) as prepared:
            lines = [("authorization", f"Bearer {token}") for token in tokens]
            return execute(prepared, params, [*lines, *(headers or [])], **request)

    with testing.clock():
        return asyncio.run(run())


def refusal(params: dict[str, Any], *tokens: str, **request: Any) -> tuple[int, str]:
    """Returns the answer's status and challenge."""
    action, identity = ask(params, *tokens, **request)
    assert isinstance(action, ImmediateResponse), action
    assert identity is None
    assert action.headers["content-type"] == "application/problem+json"
    assert json.loads(action.body)["status"] == action.status_code
    return action.status_code, str(action.headers.get("www-authenticate", ""))


INVALID = 'Bearer error="invalid_token", error_description="{}"'
MALFORMED = (401, INVALID.format("the token is not well-formed"))
PARTS = (401, INVALID.format("expected a signed token of three parts"))
ALGORITHM = (401, INVALID.format("the token's algorithm is not accepted"))
SIGNATURE = (401, INVALID.format("the token's signature is not valid"))
NO_KEY = (401, INVALID.format("the token is signed by a key that the issuer does not publish"))
NO_ISSUER = (401, INVALID.format("the token's issuer is not accepted"))
HEADER = (401, INVALID.format("the token's header has an unsupported member"))
TYPE = (401, INVALID.format("the token's type is not accepted"))
AUDIENCE = (401, INVALID.format("the token is for another audience"))
EXPIRED = (401, INVALID.format("the token has expired"))
EARLY = (401, INVALID.format("the token is not valid yet"))
TIMES = (401, INVALID.format("expected exp, and exp, nbf and iat to be numbers"))


# ------------------------------------------------------------------ good tokens


def test_a_valid_token_passes_and_becomes_the_identity() -> None:
    action, identity = ask(make_params(), token(scp=["write", "admin"], tenant="blue"))
    assert identity == Identity(
        "ada", ISSUER, ("read", "write", "admin"), {**CLAIMS, "scp": ["write", "admin"], "tenant": "blue"}, "jwt"
    )
    assert not action.remove_headers
    assert not action.set_headers


KEYS: list[tuple[str, Any]] = [
    *((name, RSA_KEY) for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")),
    *EC_KEYS.items(),
    ("EdDSA", ED_KEY),
    ("Ed25519", ED_KEY),
]


@pytest.mark.parametrize(("algorithm", "key"), KEYS, ids=[name for name, _ in KEYS])
def test_an_algorithm_is_used_only_with_keys_of_its_type_and_curve(algorithm: str, key: Any) -> None:
    names = [name for name, _ in KEYS]
    every = [jwk(RSA_KEY, "RSA"), *(jwk(key, name) for name, key in EC_KEYS.items()), jwk(ED_KEY, "EdDSA")]
    own = "RSA" if key is RSA_KEY else "EdDSA" if key is ED_KEY else algorithm
    for kid in ("RSA", "ES256", "ES384", "ES512", "EdDSA"):
        params = make_params(issuer(*every, algorithms=names))
        if kid == own:
            assert ask(params, token(key, algorithm, kid))[1].subject == "ada"
        else:
            assert refusal(params, token(key, algorithm, kid)) == NO_KEY
    others = make_params(issuer(*every, algorithms=[name for name in names if name != algorithm]))
    assert refusal(others, token(key, algorithm, own)) == ALGORITHM


def test_a_key_that_names_its_algorithm_is_used_for_no_other() -> None:
    params = make_params(issuer(jwk(RSA_KEY, alg="PS256"), jwk(OTHER_KEY, "two"), algorithms=["RS256", "PS256"]))
    assert ask(params, token(RSA_KEY, "PS256"))[1]
    assert refusal(params, token(RSA_KEY, "RS256")) == NO_KEY


@pytest.mark.parametrize("published", ["EdDSA", "Ed25519", None])
@pytest.mark.parametrize("algorithm", ["EdDSA", "Ed25519"])
def test_a_key_for_ed25519_may_have_the_older_name(algorithm: str, published: str | None) -> None:
    """EdDSA and Ed25519 are one algorithm (RFC 9864): a key may have either name; a token's name must be listed."""
    key = jwk(ED_KEY, **({"alg": published} if published else {}))
    assert ask(make_params(issuer(key, algorithms=[algorithm])), token(ED_KEY, algorithm))[1].subject == "ada"
    other = "EdDSA" if algorithm == "Ed25519" else "Ed25519"
    assert refusal(make_params(issuer(key, algorithms=[other])), token(ED_KEY, algorithm)) == ALGORITHM


def test_keys_of_ed448_are_not_used_for_ed25519() -> None:
    ed448_key = ed448.Ed448PrivateKey.generate()
    for named in ("EdDSA", "Ed25519", "Ed448"):
        params = make_params(
            issuer(jwk(ed448_key, alg=named), jwk(RSA_KEY, "two"), algorithms=["RS256", "Ed25519", "EdDSA"])
        )
        for algorithm in ("EdDSA", "Ed25519"):
            assert refusal(params, token(ed448_key, algorithm)) == NO_KEY


def test_a_token_without_a_key_id_needs_a_single_key() -> None:
    assert ask(make_params(issuer(jwk(RSA_KEY, None), jwk(EC_KEYS["ES256"], "b"))), token(kid=None))[1]
    assert refusal(make_params(issuer(jwk(RSA_KEY), jwk(OTHER_KEY, "two"))), token(kid=None)) == NO_KEY


@pytest.mark.parametrize("typ", [None, "JWT", "jwt", "at+jwt", "application/at+jwt", "AT+JWT"])
def test_accepted_types(typ: str | None) -> None:
    header = {"alg": "RS256", "kid": "one"} | ({"typ": typ} if typ else {})
    assert ask(make_params(), signed(CLAIMS, header=header))[1]
    only = make_params(issuer(types=["application/at+jwt"]))
    if typ and "at" in typ.lower():
        assert ask(only, signed(CLAIMS, header=header))[1]
    else:
        assert refusal(only, signed(CLAIMS, header=header)) == TYPE


# ------------------------------------------------------------------ hostile tokens


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", " none", "HS256", "RS256 ", "rs256", "ES256K"])
@pytest.mark.parametrize("signature", ["", "AAAA"])
def test_other_algorithms_are_refused(name: str, signature: str) -> None:
    forged = f"{encoded({'alg': name, 'kid': 'one'})}.{encoded(CLAIMS)}.{signature}"
    assert refusal(make_params(), forged) == (ALGORITHM if signature else PARTS)


@pytest.mark.parametrize("algorithm", [None, 1, True, ["RS256"], {"a": 1}])
def test_an_algorithm_that_is_no_string(algorithm: object) -> None:
    assert refusal(make_params(), signed(CLAIMS, header={"alg": algorithm, "kid": "one"}, sign_by="RS256")) == ALGORITHM


@pytest.mark.parametrize("form", ["PEM", "DER", "PKCS1", "n"])
@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_a_public_key_is_no_shared_secret(form: str, algorithm: str) -> None:
    """Key confusion: an HMAC whose secret is the issuer's public key."""
    public, kind = RSA_KEY.public_key(), serialization.PublicFormat.SubjectPublicKeyInfo
    secret = {
        "PEM": public.public_bytes(serialization.Encoding.PEM, kind),
        "DER": public.public_bytes(serialization.Encoding.DER, kind),
        "PKCS1": public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.PKCS1),
        "n": jwk(RSA_KEY)["n"].encode(),
    }[form]
    assert refusal(make_params(), signed(CLAIMS, secret, algorithm)) == ALGORITHM


EVIL = jwk(OTHER_KEY, "evil")


@pytest.mark.parametrize(
    "more",
    [
        {"jwk": EVIL}, {"jku": "https://evil.example/keys"}, {"x5u": "https://evil.example/x5u"}, {"x5c": ["MIIB"]},
        {"jwk": EVIL, "kid": "evil"}, {"jku": "https://evil.example/keys", "kid": "evil"},
    ],
)  # fmt: skip
def test_keys_that_a_token_names_are_ignored(more: dict[str, Any]) -> None:
    header = {"alg": "RS256", "kid": "one", **more}
    assert refusal(make_params(), signed(CLAIMS, OTHER_KEY, header=header)) == (NO_KEY if "kid" in more else SIGNATURE)


@pytest.mark.parametrize(
    "kid",
    [
        "../../../../dev/null", "/dev/null", "' OR '1'='1", "one\x00", "one ", "ONE", "", "one\n", "k" * 4000,
        "http://evil/", "💥",
    ],
)  # fmt: skip
def test_a_key_id_is_only_compared(kid: str) -> None:
    assert refusal(make_params(), signed(CLAIMS, header={"alg": "RS256", "kid": kid})) == NO_KEY


@pytest.mark.parametrize(
    "more", [{"kid": 1}, {"kid": ["one"]}, {"kid": {}}, {"typ": 1}, {"crit": ["exp"]}, {"crit": []}]
)
def test_unsupported_members_of_the_header(more: dict[str, Any]) -> None:
    assert refusal(make_params(), signed(CLAIMS, header={"alg": "RS256", "kid": "one", **more})) == HEADER


@pytest.mark.parametrize("typ", ["logout+jwt", "secevent+jwt", "dpop+jwt", "jose", ""])
def test_other_types_are_refused(typ: str) -> None:
    assert refusal(make_params(), signed(CLAIMS, header={"alg": "RS256", "kid": "one", "typ": typ})) == TYPE


def test_signatures_by_another_key() -> None:
    params = make_params(issuer(jwk(RSA_KEY), jwk(EC_KEYS["ES256"], "two")))
    good = token()
    assert refusal(params, token(OTHER_KEY)) == SIGNATURE
    assert refusal(params, good[:-8] + "AAAAAAAA") == SIGNATURE
    head, body, signature = good.split(".")
    assert refusal(params, f"{head}.{encoded(CLAIMS | {'sub': 'root'})}.{signature}") == SIGNATURE
    assert refusal(params, f"{encoded({'alg': 'RS256', 'kid': 'one', 'x': 1})}.{body}.{signature}") == SIGNATURE
    assert refusal(params, token(ec.generate_private_key(ec.SECP256R1()), "ES256", "two")) == SIGNATURE


def test_signatures_of_ecdsa_in_other_forms() -> None:
    key = EC_KEYS["ES256"]
    params = make_params(issuer(jwk(key)))
    text, _, _ = token(key, "ES256").rpartition(".")
    der = key.sign(text.encode(), ec.ECDSA(hashes.SHA256()))
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    for signature in (
        der, bytes(64), bytes(63), bytes(65), b"\0", order.to_bytes(32, "big") * 2, b"\0" * 63 + b"\1",
        b"\xff" * 64, (0).to_bytes(32, "big") + (1).to_bytes(32, "big"),
    ):  # fmt: skip
        assert refusal(params, f"{text}.{encoded(signature)}") == SIGNATURE


@pytest.mark.parametrize(
    "bad",
    [
        lambda _: "", lambda good: good + "\n", lambda good: good.replace(".", " .", 1), lambda good: good + ".",
        lambda good: good + ".a.b", lambda good: "." + good, lambda _: "..", lambda good: good.rpartition(".")[0],
        lambda good: good.replace(".", ".\t"), lambda good: good + "=", lambda good: good + ", Bearer " + good,
        lambda good: good.replace("e", "\udcff"), lambda good: good.replace(".", "。"),
        lambda good: good.replace("e", "+"), lambda good: f"{good}.{good}", lambda good: f'"{good}"',
    ],
)  # fmt: skip
def test_malformed_tokens(bad: Callable[[str], str]) -> None:
    assert refusal(make_params(), bad(token())) == PARTS


@pytest.mark.parametrize(
    "claims",
    [
        "", "null", "[]", '"text"', "1", "{", b"\xff\xfe", '{"a": 1}{"b": 2}', "\ufeff{}",
        json.dumps(CLAIMS)[:-1] + ', "sub": "root"}', json.dumps(CLAIMS)[:-1] + ', "a": {"b": 1, "b": 2}}',
        json.dumps(CLAIMS)[:-1] + ', "deep": ' + "[" * 2500 + "]" * 2500 + "}", "{" + '"a":{' * 900,
        json.dumps(CLAIMS | {"exp": 1}).replace('"exp": 1', '"exp": 1e400'),
        json.dumps(CLAIMS | {"exp": 1}).replace('"exp": 1', '"exp": Infinity'),
        json.dumps(CLAIMS | {"exp": 1}).replace('"exp": 1', '"exp": NaN'),
        json.dumps(CLAIMS | {"exp": 1}).replace('"exp": 1', '"exp": ' + "9" * 4400),
        json.dumps(CLAIMS | {"name": "\ud800"}), json.dumps(CLAIMS | {"\udfff": 1}),
    ],
)  # fmt: skip
def test_claims_that_parsers_could_read_differently(claims: str | bytes) -> None:
    assert refusal(make_params(), signed(claims)) == (MALFORMED if claims else PARTS)


def test_headers_that_parsers_could_read_differently() -> None:
    for header in (
        '{"alg": "none", "alg": "RS256", "kid": "one"}',
        '{"alg": "RS256", "kid": "one", "kid": "one"}',
        "[]",
    ):
        assert refusal(make_params(), signed(CLAIMS, header=header)) == MALFORMED


@pytest.mark.parametrize("at", [True, False, None, "1999999999", [NOW + 60], {}])
def test_a_time_that_is_no_number(at: object) -> None:
    for name in ("exp", "nbf", "iat"):
        assert refusal(make_params(), signed({**CLAIMS, name: at})) == TIMES
    assert refusal(make_params(), token(exp=None)) == TIMES


def test_times_to_the_second() -> None:
    params = make_params(clockSkewSeconds=30)
    passing: tuple[dict[str, Any], ...] = (
        {"exp": NOW - 29}, {"exp": NOW - 29.5}, {"nbf": NOW + 30}, {"iat": NOW + 30}, {"exp": 10**300}, {"nbf": -1},
        {"iat": -(10**300)},
    )  # fmt: skip
    for passes in passing:
        assert ask(params, token(**passes))[1], passes
    for exp in (NOW - 30, NOW - 31, 0, -1, -(10**300), -1e300):
        assert refusal(params, token(exp=exp)) == EXPIRED
    for name, at in (("nbf", NOW + 31), ("iat", NOW + 31), ("nbf", 10**300)):
        early: dict[str, Any] = {name: at}
        assert refusal(params, token(**early)) == EARLY
    assert refusal(make_params(clockSkewSeconds=0), token(exp=NOW)) == EXPIRED
    assert ask(make_params(clockSkewSeconds=0), token(exp=NOW + 1, nbf=NOW, iat=NOW))[1]


def test_issuers_and_their_audiences_are_not_mixed_up() -> None:
    other = {"issuer": "https://b.example", "audiences": ["b"], "jwks": {"keys": [jwk(OTHER_KEY)]}}
    params = make_params(issuer(audiences=["a"]), issuer(**other))
    assert ask(params, token(aud="a"))[1].issuer == ISSUER
    assert ask(params, token(OTHER_KEY, aud=["x", "b"], iss="https://b.example"))[1].issuer == "https://b.example"
    assert refusal(params, token(aud="b")) == AUDIENCE
    assert refusal(params, token(OTHER_KEY, aud="a", iss="https://b.example")) == AUDIENCE
    assert refusal(params, token(OTHER_KEY, aud="a")) == SIGNATURE
    assert refusal(params, token(RSA_KEY, aud="b", iss="https://b.example")) == SIGNATURE


@pytest.mark.parametrize(
    "iss", [None, "", "https://id.example/", "HTTPS://ID.EXAMPLE", "https://evil.example", 1, ["a"], {}]
)
def test_another_issuer_with_a_valid_signature(iss: object) -> None:
    assert refusal(make_params(), token(iss=iss)) == NO_ISSUER


@pytest.mark.parametrize(
    "aud", [None, "", "Orders", "orders ", [], ["other"], [["orders"]], {"orders": 1}, 1, [1, None, {}]]
)
def test_another_audience(aud: object) -> None:
    assert refusal(make_params(), token(aud=aud)) == AUDIENCE
    assert ask(make_params(issuer(audiences=[])), token(aud=aud))[1]


def test_a_subject_that_is_no_string() -> None:
    assert refusal(make_params(), token(sub=1))[1] == INVALID.format("expected sub to be a string")
    assert ask(make_params(), token(sub=None))[1].subject == ""


def test_a_token_that_is_too_long_is_not_parsed() -> None:
    """The answer does not depend on whether the token is valid."""
    long = (401, INVALID.format("the token is too long"))
    good = token()
    assert ask(make_params(maxTokenBytes=len(good)), good)[1]
    assert refusal(make_params(maxTokenBytes=len(good) - 1), good) == long
    assert refusal(make_params(), "a" * 10_000_000) == long
    assert refusal(make_params(), "." * 10_000_000) == long


# ------------------------------------------------------------------ scopes, claims


def test_scopes() -> None:
    def insufficient(scopes: str) -> tuple[int, str]:
        text = "the token lacks a required scope"
        return 403, f'Bearer error="insufficient_scope", error_description="{text}", scope="{scopes}"'

    every, some = make_params(scopes=["read", "admin"]), make_params(scopes=["read", "admin"], scopesMatch="any")
    assert refusal(every, token()) == insufficient("read admin")
    assert ask(every, token(scope="admin read x"))[1]
    assert ask(every, token(scope=None, scp=["admin", "read"]))[1]
    assert ask(every, token(scope="read", scp="admin other"))[1]
    assert ask(some, token())[1]
    for scope in ("", "readadmin", "READ", "read,admin", ["read admin"], {"read": 1}, 1, None, True, [["read"]]):
        assert refusal(some, token(scope=scope)) == insufficient("read admin")


def test_required_claims() -> None:
    params = make_params(requiredClaims={"tenant": ["blue", 1, True], "email": []})
    for tenant in ("blue", 1, True, ["red", "blue"], [1]):
        assert ask(params, token(tenant=tenant, email=""))[1]
    text = "the token lacks a required claim"
    wanted = (403, f'Bearer error="insufficient_scope", error_description="{text}"')
    others: list[Any] = [None, "1", "true", "Blue", [], {"blue": 1}, ["red"], [["blue"]], 2]
    for other in others:
        assert refusal(params, token(tenant=other, email="")) == wanted
    assert refusal(params, token(tenant="blue")) == wanted
    assert refusal(make_params(requiredClaims={"a": [1]}), token(a=True)) == wanted
    assert refusal(make_params(requiredClaims={"a": [True]}), token(a=1)) == wanted


def test_claims_as_headers() -> None:
    names = {"x-user": "sub", "x-roles": "roles", "x-admin": "admin", "x-name": "name", "x-none": "missing"}
    params = make_params(claimHeaders=names)
    spoofed = [(name, "evil") for name in names]
    action, _ = ask(params, token(roles=["a", "b\r\nx: y"], admin=True, name="Zoë"), headers=spoofed)
    assert action.set_headers == {
        "x-user": "ada", "x-roles": '["a", "b\\r\\nx: y"]', "x-admin": "true", "x-name": "Zoë",
    }  # fmt: skip
    assert list(action.remove_headers) == list(names)
    for name in ("a\r\nx-admin: 1", "a\0", "a\x7f", "\n"):
        unfit = (401, INVALID.format("the token has a claim that is not valid in a header"))
        assert refusal(params, token(name=name)) == unfit


@pytest.mark.parametrize("name", ["host", "connection", "content-length", "x-gatewright-user", "a b"])
def test_headers_that_no_policy_may_set(name: str) -> None:
    with pytest.raises(ActionError, match="expected a header"):
        ask(make_params(claimHeaders={name: "sub"}), token())


# ------------------------------------------------------------------ places of the token


def test_a_request_without_a_token_is_challenged() -> None:
    for headers in ([], [("authorization", "Basic YTpi")], [("authorization", "")], [("x-token", token())]):
        assert refusal(make_params(), headers=headers) == (401, "Bearer")


def test_two_tokens() -> None:
    several = (400, 'Bearer error="invalid_request", error_description="expected one token, got several"')
    for parameters in (make_params(), make_params(required=False)):
        assert refusal(parameters, token(), token()) == several
        assert refusal(parameters, token(), headers=[("authorization", "Basic YTpi")]) == several
    in_query = make_params(token={"in": "query", "name": "t"})
    assert refusal(in_query, query=f"t={token()}&%74={token()}") == several
    in_cookie = make_params(token={"in": "cookie", "name": "t"})
    assert refusal(in_cookie, headers=[("cookie", f"t={token()}"), ("cookie", "t=b")]) == several


def test_only_requests_without_a_token_pass_if_none_is_required() -> None:
    params = make_params(required=False, claimHeaders={"x-user": "sub"})
    for headers in ([("x-user", "root")], [("authorization", "Basic YTpi"), ("x-user", "root")]):
        action, identity = ask(params, headers=headers)
        assert (list(action.remove_headers), action.set_headers, identity) == (["x-user"], {}, None)
    assert refusal(params, "bad") == PARTS
    assert refusal(params, headers=[("authorization", "Bearer")]) == PARTS
    for apart in ("\t", "\t ", ",", "="):  # some upstreams would still find the token
        assert refusal(params, headers=[("authorization", f"bearer{apart}{token()}")]) == PARTS
    assert ask(params, headers=[("authorization", f"BearerX {token()}")])[1] is None, "another scheme"
    assert refusal(params, token(exp=1)) == EXPIRED
    assert ask(params, token())[1]


@pytest.mark.parametrize("forward", [True, False])
def test_other_places(forward: bool) -> None:
    good = token()
    header = make_params(
        token={"in": "header", "name": "x-token"}, forwardToken=forward, claimHeaders={"x-user": "sub"}
    )
    action, identity = ask(header, headers=[("x-token", good)])
    assert identity
    assert list(action.remove_headers) == (["x-user"] if forward else ["x-token", "x-user"])
    assert action.set_headers == {"x-user": "ada"}
    cookie = make_params(token={"in": "cookie", "name": "t"}, forwardToken=forward)
    action, identity = ask(cookie, headers=[("cookie", f"a=1; t={good}; b=2")])
    assert identity
    assert (list(action.remove_headers), action.append_headers) == (
        ([], {}) if forward else (["cookie"], {"cookie": "a=1; b=2"})
    )
    query = make_params(token={"in": "query", "name": "t"}, forwardToken=forward)
    action, identity = ask(query, query=f"a=%20&t={good}&b")
    assert identity
    assert action.query == (None if forward else "a=%20&b")
    bearer = make_params(forwardToken=forward)
    assert list(ask(bearer, good)[0].remove_headers) == ([] if forward else ["authorization"])
    for parameters in (header, cookie, query):
        assert refusal(parameters, good) == (401, "Bearer")


# ------------------------------------------------------------------ invalid parameters

WEAK_KEY = rsa.generate_private_key(65537, 1024)  # noqa: S505 - the policy must refuse it
WITHOUT_KEYS = {name: value for name, value in issuer(issuer="a b").items() if name != "jwks"}
PRIVATE = json.loads(RSAAlgorithm.to_jwk(RSA_KEY))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (make_params(issuer(), issuer()), r"issuers\[1\].issuer: expected each issuer once, got https://id.example"),
        (make_params(WITHOUT_KEYS), r"issuers\[0\].issuer: expected a URL, or jwksUri or jwks beside it, got 'a b'"),
        (make_params(token={"in": "cookie"}), "token: expected a name for a header"),
        (make_params(token={"in": "authorization", "name": "x"}), "token: expected a name for a header"),
        (make_params(issuer(jwk(RSA_KEY), PRIVATE)), r"issuers\[0\].jwks.keys\[1\]: expected a public key, got a"),
        (make_params(issuer({"kty": "oct", "k": "c2VjcmV0"})), "expected a public key, got a private or a shared"),
        (make_params(issuer(jwk(WEAK_KEY))), "2048 to 8192 bits, got 1024"),
        (make_params(issuer({"kty": "RSA", "n": 1, "e": "AQAB"})), r"keys\[0\]: "),
        (make_params(issuer({"kty": "RSA", "n": jwk(RSA_KEY)["n"], "e": "AQ"})), r"keys\[0\]: "),
        (make_params(issuer({"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"})), r"keys\[0\]: "),
        (make_params(issuer(jwk(RSA_KEY, use="enc"))), "jwks.expected a key for RS256, ES256, got none among 1"),
        (make_params(issuer(jwk(ED_KEY))), "expected a key for RS256, ES256, got none among 1"),
        (make_params(issuer(jwk(RSA_KEY), jwk(OTHER_KEY))), r"keys\[1\]: expected each kid once"),
        (make_params(issuer(jwk(RSA_KEY) | {"kid": 1})), "expected an object whose kid is a string"),
    ],
)  # fmt: skip
def test_invalid_parameters(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ask(params, token())


def test_refusals_are_counted_by_reason() -> None:
    reasons = ("expired", "missing", "issuer")
    before = [policy.REFUSED.value(reason=reason) for reason in reasons]
    refusal(make_params(), token(exp=1))
    refusal(make_params())
    after = [policy.REFUSED.value(reason=reason) for reason in reasons]
    assert [late - early for late, early in zip(after, before, strict=True)] == [1, 1, 0]
