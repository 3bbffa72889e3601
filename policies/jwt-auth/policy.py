"""Lets a request pass only with a JWT (RFC 7519) that one of its issuers has signed for this API.

A token is checked as RFC 8725 requires: the issuer in its `iss` determines the algorithms and keys, a key is used only
for algorithms of its type and curve, and keys that the token itself names (`jku`, `x5u`, `jwk`) are ignored. A verified
token is cached until the keys are fetched again, so that a withdrawn key ends its tokens; its times are checked for
each request.

The keys are fetched in the background. Until they have come, and while they are fetched for an unknown key, the answer
is 503, since the token cannot be verified. If an issuer cannot be reached later, its known keys remain in use. Later
policies find the token's subject in `ctx.identity`.

Limits: no shared secrets (HS256), no encrypted tokens, no curves other than P-256, P-384, P-521 and Ed25519.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import math
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

import aiohttp
import jwt
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm, get_default_algorithms
from sdk import bearer, clock
from sdk.action import ActionError, check
from sdk.background import Fresh, NotReadyError
from sdk.bearer import RefusedError
from sdk.metrics import Counter
from sdk.policy import Identity, RequestAction, RequestContext, UpstreamRequestModifications

FETCH_SECONDS = 5.0  # for one fetch of an issuer's keys, with discovery
NEW_KEY_SECONDS = 60.0  # the least time between two fetches for tokens with unknown keys
MAX_DOCUMENT_BYTES = 1 << 20  # of an issuer's document
MAX_VERIFIED = 1000  # tokens in each of the two generations of an attachment's cache
RSA_BITS = range(2048, 8193)
ALGORITHMS = get_default_algorithms() | {"Ed25519": OKPAlgorithm()}
ED25519 = ("EdDSA", "Ed25519")  # two names of one algorithm, the older one first (RFC 9864)
KEY_TYPES: dict[str, tuple[str, str]] = {  # the type and curve of keys, by algorithm (RFC 7518, 3.1)
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", "")),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    **dict.fromkeys(ED25519, ("OKP", "Ed25519")),
}
READERS: dict[str, Any] = {"RSA": RSAAlgorithm, "EC": ECAlgorithm, "OKP": OKPAlgorithm}
SIGNED = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")  # RFC 7515, 7.1

REFUSED = Counter("tokens_refused_total", "Requests that were refused because of their token.", labels=["reason"])
log = logging.getLogger(__name__)


# ------------------------------------------------------------------ keys


@dataclass(frozen=True, slots=True)
class Key:
    """A public key. algorithms: those of its type and curve, or only the one that its JWK names, with all its names."""

    id: str
    algorithms: frozenset[str]
    public: Any


def read_key(jwk: object) -> Key | None:
    """Returns the key of a JWK (RFC 7517); None if it is for another use. ValueError: it must not be used."""
    if not isinstance(jwk, dict) or not isinstance(kid := jwk.get("kid", ""), str):
        raise ValueError("expected an object whose kid is a string")
    if "d" in jwk or "k" in jwk:
        raise ValueError("expected a public key, got a private or a shared one, which is no longer secret")
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return None
    kind = (str(jwk.get("kty")), "" if jwk.get("kty") == "RSA" else str(jwk.get("crv")))
    named = ED25519 if jwk.get("alg") in ED25519 else [jwk["alg"]] if "alg" in jwk else list(KEY_TYPES)
    fitting = frozenset(name for name, required in KEY_TYPES.items() if required == kind and name in named)
    return Key(kid, fitting, read_public(jwk, kind[0])) if fitting else None


def read_public(jwk: dict[str, Any], kind: str) -> Any:
    try:
        public = READERS[kind].from_jwk(jwk)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None
    if kind == "RSA" and public.key_size not in RSA_BITS:
        raise ValueError(f"expected an RSA key of 2048 to 8192 bits, got {public.key_size}")
    return public


class KeySet:
    """The usable keys of one JWK Set of an issuer."""

    fetch = 0
    """The number of the fetch that returned them."""

    def __init__(self, document: Mapping[str, Any], issuer: Mapping[str, Any], *, strict: bool = False) -> None:
        """issuer: of the parameters. strict: each key must be usable. ValueError: the document is no JWK Set, or has no
        usable key.
        """
        algorithms: list[str] = issuer["algorithms"]
        if not isinstance(listed := document.get("keys"), list):
            raise ValueError("expected a JWK Set, an object with a list of keys")
        self._by_id: dict[tuple[str, str], Key] = {}
        self._only: dict[str, Key | None] = {}
        self._ids: set[str] = set()
        for number, jwk in enumerate(listed):
            try:
                if key := read_key(jwk):
                    self._add(key, algorithms)
            except ValueError as error:
                if strict:
                    raise ValueError(f"keys[{number}]: {error}") from None
                log.warning("keys[%d] of the issuer %s is ignored: %s", number, issuer["issuer"], error)
        if not self._by_id:
            raise ValueError(f"expected a key for {', '.join(algorithms)}, got none among {len(listed)}")

    def _add(self, key: Key, algorithms: Iterable[str]) -> None:
        self._ids.add(key.id)
        for name in key.algorithms.intersection(algorithms):
            self._only[name] = None if name in self._only else key
            if self._by_id.setdefault((key.id, name), key) is not key:
                raise ValueError("expected each kid once")

    def get(self, key_id: str | None, algorithm: str) -> Key | None:
        """The key of this id for the algorithm; without an id, the only key for it."""
        return self._only.get(algorithm) if key_id is None else self._by_id.get((key_id, algorithm))

    def knows(self, key_id: str | None) -> bool:
        """Whether a key has this id: then new keys would not make an invalid signature valid."""
        return key_id in self._ids


class Keys(Protocol):
    """A source of an issuer's keys."""

    def current(self) -> KeySet:
        """The present keys. NotReadyError: there are none yet."""

    def request_newer(self, than: KeySet) -> bool:
        """Requests newer keys than these. Returns whether some may come soon, or have come meanwhile."""


@dataclass(frozen=True, slots=True)
class FixedKeys:
    """The keys of the parameters, which never change."""

    keys: KeySet

    def current(self) -> KeySet:
        return self.keys

    def request_newer(self, than: KeySet) -> bool:
        return than is not self.keys


class PublishedKeys:
    """The keys that an issuer publishes, at a URI of the parameters or of its discovery document."""

    def __init__(self, session: aiohttp.ClientSession, issuer: Mapping[str, Any], seconds: float) -> None:
        self._session, self._issuer = session, issuer
        self._begun = self._requested = 0  # numbers of fetches
        self._requested_at = -math.inf
        self.fresh: Fresh[KeySet] = Fresh(seconds, self._fetch, name=f"keys of {issuer['issuer']}")

    def current(self) -> KeySet:
        return self.fresh.value

    def request_newer(self, than: KeySet) -> bool:
        # Other threads may run between any two lines, and keys may come, so _requested is set before the fetch begins.
        if (now := clock.monotonic()) - self._requested_at >= NEW_KEY_SECONDS:
            self._requested = self._begun + 1
            self._requested_at = now
            self.fresh.refresh_soon(0)
        return than.fetch < self._requested

    async def _fetch(self) -> KeySet:
        self._begun = number = self._begun + 1
        async with asyncio.timeout(FETCH_SECONDS):
            uri = self._issuer.get("jwksUri") or await self._discover()
            jwks = await self._fetch_document(uri)
        try:
            keys = KeySet(jwks, self._issuer)
        except ValueError as error:
            raise ValueError(f"{uri}: {error}") from None
        keys.fetch = number
        return keys

    async def _discover(self) -> str:
        """The URI of the keys (OpenID Connect Discovery 1.0, 4)."""
        issuer = self._issuer["issuer"]
        at = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
        document = await self._fetch_document(at)
        if document.get("issuer") != issuer:
            raise ValueError(f"{at}: expected the issuer {issuer}, got {document.get('issuer')!r:.200}")
        uri = document.get("jwks_uri")
        schemes = ("https://",) if issuer.startswith("https://") else ("https://", "http://")
        if not isinstance(uri, str) or not uri.startswith(schemes):
            raise ValueError(f"{at}: expected jwks_uri with {' or '.join(schemes)}, got {uri!r:.200}")
        return uri

    async def _fetch_document(self, url: str) -> dict[str, Any]:
        async with self._session.get(url, allow_redirects=False) as answer:
            if answer.status != 200:
                raise ValueError(f"{url}: expected the status 200, got {answer.status}; redirects are not followed")
            body = bytearray()
            async for chunk in answer.content.iter_chunked(1 << 16):
                body += chunk
                if len(body) > MAX_DOCUMENT_BYTES:
                    raise ValueError(f"{url}: expected at most {MAX_DOCUMENT_BYTES} bytes")
        try:
            return bearer.json_object(bytes(body))
        except ValueError as error:
            raise ValueError(f"{url}: {error}") from None


# ------------------------------------------------------------------ tokens


@dataclass(frozen=True, slots=True)
class Issuer:
    """An issuer: the requirements for its tokens, and its keys."""

    audiences: frozenset[str]
    algorithms: frozenset[str]
    types: frozenset[str]
    keys: Keys


@dataclass(frozen=True, slots=True)
class Verified:
    """A token that is valid except for its times, which change."""

    issuer: Issuer
    keys: KeySet  # those that verified it
    identity: Identity
    headers: dict[str, str]
    times: dict[str, float]


def read(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    """Parses a JWS in compact form: its header, claims, signed bytes and signature. Nothing is verified yet."""
    parts = SIGNED.fullmatch(token)
    if parts is None:
        raise RefusedError("malformed", "expected a signed token of three parts")
    try:
        header, claims, signature = (base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in parts.groups())
        return bearer.json_object(header), bearer.json_object(claims), token[: parts.end(2)].encode(), signature
    except ValueError:
        raise RefusedError("malformed", "the token is not well-formed") from None


def verify(token: str, issuers: Mapping[str, Issuer]) -> tuple[Issuer, KeySet, dict[str, Any]]:
    """Verifies the signature. Returns the issuer, its keys, and the claims, of which only `iss` is verified."""
    header, claims, signed, signature = read(token)
    name = claims.get("iss")
    issuer = issuers.get(name) if isinstance(name, str) else None
    if issuer is None:
        raise RefusedError("issuer", "the token's issuer is not accepted")
    algorithm, key_id = check_header(header, issuer)
    try:
        keys = issuer.keys.current()
    except NotReadyError:
        raise RefusedError("unavailable", "the issuer's keys have not been fetched yet", "unavailable") from None
    key = keys.get(key_id, algorithm)
    if key is not None and ALGORITHMS[algorithm].verify(signed, key.public, signature):
        return issuer, keys, claims
    if not keys.knows(key_id) and issuer.keys.request_newer(keys):
        raise RefusedError("unavailable", "the token's key is being fetched from the issuer", "unavailable")
    if key is None:
        raise RefusedError("key", "the token is signed by a key that the issuer does not publish")
    raise RefusedError("signature", "the token's signature is not valid")


def check_header(header: Mapping[str, Any], issuer: Issuer) -> tuple[str, str | None]:
    """Returns the algorithm and the key's id. RefusedError: the header is not accepted."""
    algorithm, key_id, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if not isinstance(algorithm, str) or algorithm not in issuer.algorithms:
        raise RefusedError("algorithm", "the token's algorithm is not accepted")
    if "crit" in header or not isinstance(key_id, str | None) or not isinstance(kind, str):
        raise RefusedError("malformed", "the token's header has an unsupported member")
    if kind.lower().removeprefix("application/") not in issuer.types:
        raise RefusedError("type", "the token's type is not accepted")
    return algorithm, key_id


def times_of(claims: Mapping[str, Any]) -> dict[str, float]:
    """Returns exp, and nbf and iat if present, in seconds since 1970 (RFC 7519, 2)."""
    times = {name: claims[name] for name in ("exp", "nbf", "iat") if name in claims}
    if "exp" not in times or any(isinstance(at, bool) or not isinstance(at, int | float) for at in times.values()):
        raise RefusedError("malformed", "expected exp, and exp, nbf and iat to be numbers")
    return times


def check_time(times: Mapping[str, float], skew: float) -> None:
    now = clock.now()
    if now >= times["exp"] + skew:
        raise RefusedError("expired", "the token has expired")
    if any(now < times[name] - skew for name in ("nbf", "iat") if name in times):
        raise RefusedError("not_yet_valid", "the token is not valid yet")


def strings_of(value: object, separator: str | None = None) -> list[str]:
    """Returns the strings of a claim that is a list of strings, or one string, which a separator may split."""
    if isinstance(value, str):
        return value.split(separator) if separator else [value]
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


# ------------------------------------------------------------------ attachments


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a token in a request."""

    kind: str
    name: str

    def find(self, ctx: RequestContext) -> str | None:
        """The token; None if there is none."""
        if self.kind == "authorization":
            return bearer.raw_token(ctx.headers)
        if self.kind == "header":
            return bearer.only(ctx.headers.get_all(self.name))
        return bearer.only((ctx.cookies if self.kind == "cookie" else ctx.query_params).get_all(self.name))

    def without(self, ctx: RequestContext) -> UpstreamRequestModifications:
        """The modifications that remove the token from the request."""
        if self.kind == "cookie":
            left = ctx.cookies.without(self.name).headers
            return UpstreamRequestModifications(remove_headers=["cookie"], append_headers=dict(left))
        if self.kind == "query":
            return UpstreamRequestModifications(query=str(ctx.query_params.without(self.name)))
        return UpstreamRequestModifications(remove_headers=[self.name or "authorization"])


@dataclass(slots=True)
class Gate:
    """The requirements of an attachment."""

    issuers: Mapping[str, Issuer]
    place: Place
    params: Mapping[str, Any]
    claims: Mapping[str, frozenset[str]]  # required claims: values as JSON; an empty set for any value
    max_verified: int = MAX_VERIFIED
    _verified: dict[bytes, Verified] = field(default_factory=dict)
    _verified_before: dict[bytes, Verified] = field(default_factory=dict)

    def verified(self, token: str) -> Verified:
        """Returns the verified token, from the cache if possible. RefusedError: it is not valid."""
        if len(token) > self.params["maxTokenBytes"]:
            raise RefusedError("too_long", "the token is too long")
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()  # so that no token stays in memory
        known = self._verified.get(digest) or self._verified_before.get(digest)
        if known is None or known.keys is not known.issuer.keys.current():
            known = self._verify(token)
            if len(self._verified) >= self.max_verified:
                self._verified, self._verified_before = {}, self._verified
            self._verified[digest] = known
        check_time(known.times, self.params["clockSkewSeconds"])
        return known

    def _verify(self, token: str) -> Verified:
        issuer, keys, claims = verify(token, self.issuers)
        times = times_of(claims)
        check_time(times, self.params["clockSkewSeconds"])
        if issuer.audiences and issuer.audiences.isdisjoint(strings_of(claims.get("aud"))):
            raise RefusedError("audience", "the token is for another audience")
        subject = claims.get("sub", "")
        if not isinstance(subject, str):
            raise RefusedError("malformed", "expected sub to be a string")
        self._check_claims(claims)
        scopes = tuple(dict.fromkeys([*strings_of(claims.get("scope"), " "), *strings_of(claims.get("scp"), " ")]))
        self._check_scopes(set(scopes))
        return Verified(
            issuer, keys, Identity(subject, claims["iss"], scopes, claims, "jwt"), self._claim_headers(claims), times
        )

    def _check_claims(self, claims: Mapping[str, Any]) -> None:
        for name, required in self.claims.items():
            value = claims.get(name)
            values = value if isinstance(value, list) else [value]
            if name not in claims or (required and required.isdisjoint(map(json.dumps, values))):
                raise RefusedError("claims", "the token lacks a required claim", "insufficient_scope")

    def _check_scopes(self, scopes: set[str]) -> None:
        required = self.params["scopes"]
        fits = all if self.params["scopesMatch"] == "all" else any
        if required and not fits(scope in scopes for scope in required):
            raise RefusedError("scopes", "the token lacks a required scope", "insufficient_scope", " ".join(required))

    def _claim_headers(self, claims: Mapping[str, Any]) -> dict[str, str]:
        """Returns the headers with claims. RefusedError: a claim has a control character."""
        headers = {}
        for name, claim in self.params["claimHeaders"].items():
            if claim in claims:
                value = claims[claim]
                headers[name] = value if isinstance(value, str) else json.dumps(value)
        try:
            check("on_request", UpstreamRequestModifications(set_headers=headers))
        except ActionError:
            raise RefusedError("claims", "the token has a claim that is not valid in a header") from None
        return headers

    def upstream_request(self, ctx: RequestContext, headers: dict[str, str]) -> UpstreamRequestModifications:
        """Returns the changes of the request for the upstream, with these headers of claims and no others."""
        claimed = list(self.params["claimHeaders"])
        if self.params["forwardToken"]:
            return UpstreamRequestModifications(remove_headers=claimed, set_headers=headers)
        out = self.place.without(ctx)
        return UpstreamRequestModifications(
            remove_headers=[*out.remove_headers, *claimed], set_headers=headers,
            append_headers=out.append_headers, query=out.query,
        )  # fmt: skip


def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    gate: Gate = ctx.prepared
    try:
        token = gate.place.find(ctx)
        if token is None:
            if params["required"]:
                raise bearer.missing()
            return gate.upstream_request(ctx, {})
        known = gate.verified(token)
    except RefusedError as refused:
        REFUSED.inc(reason=refused.reason)
        return refused.answer()
    ctx.identity = known.identity
    return gate.upstream_request(ctx, known.headers)


async def prepare(params: dict[str, Any]) -> AsyncIterator[Gate]:
    place = Place(params["token"]["in"], params["token"].get("name", ""))
    if (place.kind == "authorization") is not (place.name == ""):
        raise ValueError("token: expected a name for a header, a cookie or a query parameter, and no name otherwise")
    check("on_request", UpstreamRequestModifications(set_headers=dict.fromkeys(params["claimHeaders"], "")))
    required = {name: frozenset(map(json.dumps, values)) for name, values in params["requiredClaims"].items()}
    async with AsyncExitStack() as stack:
        issuers = await issuers_of(params, stack)
        yield Gate(issuers, place, params, required)


async def issuers_of(params: Mapping[str, Any], stack: AsyncExitStack) -> dict[str, Issuer]:
    """Returns the issuers by their names, after a first fetch of their keys. ValueError: the parameters are invalid."""
    # Compressed documents are not read, since their size is not known in advance.
    headers, cookies = {"accept-encoding": "identity"}, aiohttp.DummyCookieJar()
    session = aiohttp.ClientSession(auto_decompress=False, headers=headers, cookie_jar=cookies)
    await stack.enter_async_context(session)
    issuers: dict[str, Issuer] = {}
    published: list[PublishedKeys] = []
    for number, entry in enumerate(params["issuers"]):
        name, where = entry["issuer"], f"issuers[{number}]"
        if name in issuers:
            raise ValueError(f"{where}.issuer: expected each issuer once, got {name} again")
        keys: FixedKeys | PublishedKeys
        if "jwks" in entry:
            keys = FixedKeys(fixed_keys(entry, where))
        elif "jwksUri" in entry or re.fullmatch(r"https?://[!-~]+", name):
            published.append(keys := PublishedKeys(session, entry, params["refreshSeconds"]))
        else:
            raise ValueError(f"{where}.issuer: expected a URL, or jwksUri or jwks beside it, got {name!r:.200}")
        types = frozenset(kind.lower().removeprefix("application/") for kind in entry["types"])
        issuers[name] = Issuer(frozenset(entry["audiences"]), frozenset(entry["algorithms"]), types, keys)
    await asyncio.gather(*(stack.enter_async_context(source.fresh) for source in published))
    return issuers


def fixed_keys(issuer: Mapping[str, Any], where: str) -> KeySet:
    try:
        return KeySet(issuer["jwks"], issuer, strict=True)
    except ValueError as error:
        raise ValueError(f"{where}.jwks.{error}") from None
