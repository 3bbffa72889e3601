"""Lets a request pass only with a JWT (RFC 7519) that one of its issuers has signed for this API.

A token is checked as RFC 8725 asks: the issuer that its `iss` names says which algorithms and keys count, a key is used
for algorithms of its own type and curve alone, and nothing that the token itself says of keys (`jku`, `x5u`, `jwk`) is
followed. What has been verified is remembered until the keys are fetched again, so a key that the issuer withdraws ends
its tokens; how long a token is valid is asked for each request.

The keys are fetched in the background. While there are none yet, or while they are fetched for a key that is not known,
the answer is 503: nobody can say whether the token is good. An issuer that is away later takes nothing away: the keys
that are known go on. Policies behind this one find who asks in `ctx.identity`.

Its limits: no shared secrets (HS256), no encrypted tokens, no curves beyond P-256, P-384, P-521 and Ed25519.
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
from sdk.action import ActionError, check
from sdk.background import Fresh, NotReadyError
from sdk.bearer import RefusedError
from sdk.metrics import Counter
from sdk.policy import Identity, RequestAction, RequestContext, UpstreamRequestModifications

from sdk import bearer, clock

FETCH_SECONDS = 5.0  # for all that it takes to get an issuer's keys
NEW_KEY_SECONDS = 60.0  # tokens with keys that are not known have the keys fetched at most so often
MAX_DOCUMENT = 1 << 20  # bytes of what an issuer publishes
MAX_VERIFIED = 1000  # tokens that an attachment remembers, and as many older ones
RSA_BITS = range(2048, 8193)
ALGORITHMS = get_default_algorithms() | {"Ed25519": OKPAlgorithm()}
ED25519 = ("EdDSA", "Ed25519")  # two names of one algorithm, the older one first (RFC 9864)
FITS: dict[str, tuple[str, str]] = {  # type and curve of the keys that an algorithm takes (RFC 7518, 3.1)
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", "")),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    **dict.fromkeys(ED25519, ("OKP", "Ed25519")),
}
READERS: dict[str, Any] = {"RSA": RSAAlgorithm, "EC": ECAlgorithm, "OKP": OKPAlgorithm}
SIGNED = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")  # RFC 7515, 7.1

REFUSED = Counter("tokens_refused_total", "Requests whose token does not let them pass.", labels=["reason"])
log = logging.getLogger(__name__)


# ------------------------------------------------------------------ keys


@dataclass(frozen=True, slots=True)
class Key:
    """A public key. algorithms: those of its type and curve, or the one that it names, by each of that one's names."""

    id: str
    algorithms: frozenset[str]
    public: Any


def read_key(jwk: object) -> Key | None:
    """A JWK (RFC 7517), or None where it is for something else. ValueError says why it must not be used."""
    if not isinstance(jwk, dict) or not isinstance(kid := jwk.get("kid", ""), str):
        raise ValueError("expected an object with a text as kid")
    if "d" in jwk or "k" in jwk:
        raise ValueError("expected a public key, got a private or a shared one, which is known to all by now")
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return None
    kind = (str(jwk.get("kty")), "" if jwk.get("kty") == "RSA" else str(jwk.get("crv")))
    named = ED25519 if jwk.get("alg") in ED25519 else [jwk["alg"]] if "alg" in jwk else list(FITS)
    fitting = frozenset(name for name, wanted in FITS.items() if wanted == kind and name in named)
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
    """An issuer's keys, as they were at one time."""

    fetch = 0
    """The number of the fetch that they came by."""

    def __init__(self, document: Mapping[str, Any], algorithms: Iterable[str], *, strict: bool = False) -> None:
        """strict: each key has to be of use. ValueError: the document is no JWK Set, or none of it is of use."""
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
                log.warning("keys[%d] is left out: %s", number, error)
        if not self._by_id:
            raise ValueError(f"expected a key for {', '.join(algorithms)}, got none among {len(listed)}")

    def _add(self, key: Key, algorithms: Iterable[str]) -> None:
        self._ids.add(key.id)
        for name in key.algorithms.intersection(algorithms):
            self._only[name] = None if name in self._only else key
            if self._by_id.setdefault((key.id, name), key) is not key:
                raise ValueError("expected each kid once")

    def get(self, key_id: str | None, algorithm: str) -> Key | None:
        """The key of this id for the algorithm; without an id the only one that there is for it."""
        return self._only.get(algorithm) if key_id is None else self._by_id.get((key_id, algorithm))

    def knows(self, key_id: str | None) -> bool:
        """Whether a key has this id: then a signature that is not valid stays so, whatever the issuer publishes."""
        return key_id in self._ids


class Keys(Protocol):
    """Where an issuer's keys are."""

    def current(self) -> KeySet:
        """NotReadyError: there are none yet."""

    def newer(self, than: KeySet) -> bool:
        """Asks for newer ones. Whether some may come soon, or have come since these were looked at."""


@dataclass(frozen=True, slots=True)
class Given:
    """Those of the parameters, which never change."""

    keys: KeySet

    def current(self) -> KeySet:
        return self.keys

    def newer(self, than: KeySet) -> bool:
        return than is not self.keys


class Published:
    """Those that an issuer publishes: found by discovery, or at a URI."""

    def __init__(self, session: aiohttp.ClientSession, issuer: Mapping[str, Any], seconds: float) -> None:
        self._session, self._issuer = session, issuer
        self._begun = self._wanted = 0  # fetches by their numbers
        self._wanted_at = -math.inf
        self.fresh: Fresh[KeySet] = Fresh(seconds, self._fetch, name=f"keys of {issuer['issuer']}")

    def current(self) -> KeySet:
        return self.fresh.value

    def newer(self, than: KeySet) -> bool:
        """Other threads may ask, and the keys come, between any two lines: so the number is there before it is told."""
        if (now := clock.monotonic()) - self._wanted_at >= NEW_KEY_SECONDS:
            self._wanted = self._begun + 1
            self._wanted_at = now
            self.fresh.refresh_soon(0)
        return than.fetch < self._wanted

    async def _fetch(self) -> KeySet:
        self._begun = number = self._begun + 1
        async with asyncio.timeout(FETCH_SECONDS):
            uri = self._issuer.get("jwksUri") or await self._discovered()
            found = await self._document(uri)
        try:
            keys = KeySet(found, self._issuer["algorithms"])
        except ValueError as error:
            raise ValueError(f"{uri}: {error}") from None
        keys.fetch = number
        return keys

    async def _discovered(self) -> str:
        """OpenID Connect Discovery 1.0, 4."""
        issuer = self._issuer["issuer"]
        at = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
        document = await self._document(at)
        if document.get("issuer") != issuer:
            raise ValueError(f"{at}: expected the issuer {issuer}, got {document.get('issuer')!r:.200}")
        uri = document.get("jwks_uri")
        schemes = ("https://",) if issuer.startswith("https://") else ("https://", "http://")
        if not isinstance(uri, str) or not uri.startswith(schemes):
            raise ValueError(f"{at}: expected jwks_uri with {' or '.join(schemes)}, got {uri!r:.200}")
        return uri

    async def _document(self, url: str) -> dict[str, Any]:
        async with self._session.get(url, allow_redirects=False) as answer:
            if answer.status != 200:
                raise ValueError(f"{url}: expected the status 200, got {answer.status}; redirects are not followed")
            body = bytearray()
            async for chunk in answer.content.iter_chunked(1 << 16):
                body += chunk
                if len(body) > MAX_DOCUMENT:
                    raise ValueError(f"{url}: expected at most {MAX_DOCUMENT} bytes")
        try:
            return bearer.json_object(bytes(body))
        except ValueError as error:
            raise ValueError(f"{url}: {error}") from None


# ------------------------------------------------------------------ tokens


@dataclass(frozen=True, slots=True)
class Issuer:
    """What its tokens have to be."""

    audiences: frozenset[str]
    algorithms: frozenset[str]
    types: frozenset[str]
    keys: Keys


@dataclass(frozen=True, slots=True)
class Verified:
    """A token that was good but for the time."""

    issuer: Issuer
    keys: KeySet  # which have verified it
    identity: Identity
    headers: dict[str, str]
    times: dict[str, float]


def read(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    """A JWS in compact form: its header, its claims, what is signed, the signature. Nothing of it is verified."""
    parts = SIGNED.fullmatch(token)
    if parts is None:
        raise RefusedError("malformed", "expected a signed token of three parts")
    try:
        header, claims, signature = (base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in parts.groups())
        return bearer.json_object(header), bearer.json_object(claims), token[: parts.end(2)].encode(), signature
    except ValueError:
        raise RefusedError("malformed", "the token is not well-formed") from None


def verify(token: str, issuers: Mapping[str, Issuer]) -> tuple[Issuer, KeySet, dict[str, Any]]:
    """Who has signed the token, with which keys, and its claims, of which no more is verified."""
    header, claims, signed, signature = read(token)
    name = claims.get("iss")
    issuer = issuers.get(name) if isinstance(name, str) else None
    if issuer is None:
        raise RefusedError("issuer", "the token is of an issuer that is not known here")
    algorithm, key_id = check_header(header, issuer)
    try:
        keys = issuer.keys.current()
    except NotReadyError:
        raise RefusedError("unavailable", "the issuer's keys are not known yet", "unavailable") from None
    key = keys.get(key_id, algorithm)
    if key is not None and ALGORITHMS[algorithm].verify(signed, key.public, signature):
        return issuer, keys, claims
    if not keys.knows(key_id) and issuer.keys.newer(keys):
        raise RefusedError("unavailable", "the issuer is being asked for the token's key", "unavailable")
    if key is None:
        raise RefusedError("key", "the token is signed by a key that the issuer does not publish")
    raise RefusedError("signature", "the token's signature is not valid")


def check_header(header: Mapping[str, Any], issuer: Issuer) -> tuple[str, str | None]:
    """The algorithm, which is one of the issuer's, and the key's id."""
    algorithm, key_id, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if not isinstance(algorithm, str) or algorithm not in issuer.algorithms:
        raise RefusedError("algorithm", "the token is signed by an algorithm that does not count here")
    if "crit" in header or not isinstance(key_id, str | None) or not isinstance(kind, str):
        raise RefusedError("malformed", "the token's header has what is not understood here")
    if kind.lower().removeprefix("application/") not in issuer.types:
        raise RefusedError("type", "the token is of a type that does not count here")
    return algorithm, key_id


def times_of(claims: Mapping[str, Any]) -> dict[str, float]:
    """exp, nbf and iat, as far as they are there: seconds since 1970 (RFC 7519, 2)."""
    times = {name: claims[name] for name in ("exp", "nbf", "iat") if name in claims}
    if "exp" not in times or any(isinstance(at, bool) or not isinstance(at, int | float) for at in times.values()):
        raise RefusedError("malformed", "expected exp, and numbers as exp, nbf and iat")
    return times


def check_time(times: Mapping[str, float], skew: float) -> None:
    now = clock.now()
    if now >= times["exp"] + skew:
        raise RefusedError("expired", "the token has expired")
    if any(now < times[name] - skew for name in ("nbf", "iat") if name in times):
        raise RefusedError("not_yet_valid", "the token is not valid yet")


def texts(value: object, separator: str | None = None) -> list[str]:
    """The texts of a claim that is a list of them, or one, which may be several."""
    if isinstance(value, str):
        return value.split(separator) if separator else [value]
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


# ------------------------------------------------------------------ an attachment


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request has its token."""

    kind: str
    name: str

    def find(self, ctx: RequestContext) -> str | None:
        """The token; None where there is none."""
        if self.kind == "authorization":
            return bearer.raw_token(ctx.headers)
        if self.kind == "header":
            return bearer.only(ctx.headers.get_all(self.name))
        return bearer.only((ctx.cookies if self.kind == "cookie" else ctx.query_params).get_all(self.name))

    def without(self, ctx: RequestContext) -> UpstreamRequestModifications:
        """What takes it out of the request."""
        if self.kind == "cookie":
            left = ctx.cookies.without(self.name).headers
            return UpstreamRequestModifications(remove_headers=["cookie"], append_headers=dict(left))
        if self.kind == "query":
            return UpstreamRequestModifications(query=str(ctx.query_params.without(self.name)))
        return UpstreamRequestModifications(remove_headers=[self.name or "authorization"])


@dataclass(slots=True)
class Gate:
    """What an attachment asks of a request."""

    issuers: Mapping[str, Issuer]
    place: Place
    params: Mapping[str, Any]
    claims: Mapping[str, frozenset[str]]  # that are required: values as JSON, none for any
    max_verified: int = MAX_VERIFIED
    _verified: dict[bytes, Verified] = field(default_factory=dict)
    _verified_before: dict[bytes, Verified] = field(default_factory=dict)

    def verified(self, token: str) -> Verified:
        """RefusedError: the token is not good."""
        if len(token) > self.params["maxTokenBytes"]:
            raise RefusedError("too_long", "the token is too long")
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()  # no token stays in memory
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
        if issuer.audiences and issuer.audiences.isdisjoint(texts(claims.get("aud"))):
            raise RefusedError("audience", "the token is for another audience")
        subject = claims.get("sub", "")
        if not isinstance(subject, str):
            raise RefusedError("malformed", "expected a text as sub")
        self._check_claims(claims)
        scopes = tuple(dict.fromkeys([*texts(claims.get("scope"), " "), *texts(claims.get("scp"), " ")]))
        self._check_scopes(set(scopes))
        return Verified(
            issuer, keys, Identity(subject, claims["iss"], scopes, claims, "jwt"), self._headers(claims), times
        )

    def _check_claims(self, claims: Mapping[str, Any]) -> None:
        for name, wanted in self.claims.items():
            value = claims.get(name)
            values = value if isinstance(value, list) else [value]
            if name not in claims or (wanted and wanted.isdisjoint(map(json.dumps, values))):
                raise RefusedError("claims", "the token has not the claims that are asked for", "insufficient_scope")

    def _check_scopes(self, scopes: set[str]) -> None:
        wanted = self.params["scopes"]
        fits = all if self.params["scopesMatch"] == "all" else any
        if wanted and not fits(each in scopes for each in wanted):
            text = "the token has not the scopes that are asked for"
            raise RefusedError("scopes", text, "insufficient_scope", " ".join(wanted))

    def _headers(self, claims: Mapping[str, Any]) -> dict[str, str]:
        """Headers that tell of claims. RefusedError: one would have a control character in it."""
        headers = {}
        for name, claim in self.params["claimHeaders"].items():
            if claim in claims:
                value = claims[claim]
                headers[name] = value if isinstance(value, str) else json.dumps(value)
        try:
            check("on_request", UpstreamRequestModifications(set_headers=headers))
        except ActionError:
            raise RefusedError("claims", "the token has a claim that no header can hold") from None
        return headers

    def onward(self, ctx: RequestContext, headers: dict[str, str]) -> UpstreamRequestModifications:
        """The request as it goes on: headers of claims are none but these."""
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
            return gate.onward(ctx, {})
        known = gate.verified(token)
    except RefusedError as refused:
        REFUSED.inc(reason=refused.reason)
        return refused.answer()
    ctx.identity = known.identity
    return gate.onward(ctx, known.headers)


async def prepare(params: dict[str, Any]) -> AsyncIterator[Gate]:
    place = Place(params["token"]["in"], params["token"].get("name", ""))
    if (place.kind == "authorization") is not (place.name == ""):
        raise ValueError("token: expected a name with a header, a cookie or a query parameter, and none else")
    check("on_request", UpstreamRequestModifications(set_headers=dict.fromkeys(params["claimHeaders"], "")))
    required = {name: frozenset(map(json.dumps, values)) for name, values in params["requiredClaims"].items()}
    async with AsyncExitStack() as stack:
        issuers = await issuers_of(params, stack)
        yield Gate(issuers, place, params, required)


async def issuers_of(params: Mapping[str, Any], stack: AsyncExitStack) -> dict[str, Issuer]:
    """Issuers by their names, with keys as far as they are there by now. ValueError: the parameters are wrong."""
    # what is compressed is not read: nobody knows how much of it there will be
    headers, cookies = {"accept-encoding": "identity"}, aiohttp.DummyCookieJar()
    session = aiohttp.ClientSession(auto_decompress=False, headers=headers, cookie_jar=cookies)
    await stack.enter_async_context(session)
    issuers: dict[str, Issuer] = {}
    published: list[Published] = []
    for number, given in enumerate(params["issuers"]):
        name, where = given["issuer"], f"issuers[{number}]"
        if name in issuers:
            raise ValueError(f"{where}.issuer: expected each issuer once, got {name} again")
        keys: Given | Published
        if "jwks" in given:
            keys = Given(given_keys(given, where))
        elif "jwksUri" in given or re.fullmatch(r"https?://[!-~]+", name):
            published.append(keys := Published(session, given, params["refreshSeconds"]))
        else:
            raise ValueError(f"{where}.issuer: expected a URL, or jwksUri or jwks beside it, got {name!r:.200}")
        types = frozenset(each.lower().removeprefix("application/") for each in given["types"])
        issuers[name] = Issuer(frozenset(given["audiences"]), frozenset(given["algorithms"]), types, keys)
    await asyncio.gather(*(stack.enter_async_context(each.fresh) for each in published))
    return issuers


def given_keys(given: Mapping[str, Any], where: str) -> KeySet:
    try:
        return KeySet(given["jwks"], given["algorithms"], strict=True)
    except ValueError as error:
        raise ValueError(f"{where}.jwks.{error}") from None
