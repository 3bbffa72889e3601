"""An OpenID provider that tests do with as they like: its keys, its documents, and whether it answers at all."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import jwt
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from gatewright_controller.oidc import Oidc, People
from gatewright_controller.oidc.kept import INTERVALS, Intervals
from gatewright_controller.oidc.people import open_people
from gatewright_documents.values import JsonObject
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm, get_default_algorithms
from msgspec import convert

AUDIENCE, CLIENT = "gatewright", "inspector"
RSA_KEY, OTHER_KEY = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
KEYS: dict[str, Any] = {
    "RS256": RSA_KEY,
    "PS256": RSA_KEY,
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
VIEWER: JsonObject = {"claim": "groups", "value": "staff", "role": "viewer"}
WRITERS: dict[type, Any] = {
    rsa.RSAPrivateKey: RSAAlgorithm,
    ec.EllipticCurvePrivateKey: ECAlgorithm,
    ed25519.Ed25519PrivateKey: OKPAlgorithm,
}
Answer = Callable[[web.Request], web.StreamResponse | Awaitable[web.StreamResponse]]


def jwk(key: Any, kid: str = "one", **more: Any) -> JsonObject:
    """The public key as a JWK."""
    writer = next(writer for kind, writer in WRITERS.items() if isinstance(key, kind))
    document: JsonObject = json.loads(writer.to_jwk(key.public_key()))
    document.pop("key_ops", None)
    return {**document, "kid": kid, **more}


def encoded(part: object) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(header: object, claims: object, key: Any = RSA_KEY, algorithm: str = "RS256") -> str:
    """A JWT of any header and claims, signed by this algorithm whatever the header says."""
    text = f"{encoded(header)}.{encoded(claims)}"
    return f"{text}.{encoded(get_default_algorithms()[algorithm].sign(text.encode(), key))}"


class Provider:
    """It runs at `issuer` between `start` and `stop`, each time at the same port."""

    def __init__(self) -> None:
        self.keys = [jwk(RSA_KEY)]
        self.asked: Counter[str] = Counter()
        self.answers: dict[str, Answer] = {}
        """By path, in place of its own."""
        self.issuer = ""
        self.codes: dict[str, JsonObject] = {}
        """Those that are not exchanged yet: what the ID token is to say, and what the exchange has to."""
        self._server: TestServer | None = None
        self._port = 0

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{any:.*}", self._answer)
        self._server = TestServer(app, port=self._port or None)
        await self._server.start_server()
        self._port = self._server.port or 0
        self.issuer = f"http://127.0.0.1:{self._port}"

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.close()
            self._server = None

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked[request.path] += 1
        if own := self.answers.get(request.path):
            answer = own(request)
            return await answer if isinstance(answer, Awaitable) else answer
        if request.path == "/keys":
            return web.json_response({"keys": self.keys})
        if request.path == "/token":
            return self._exchange(await request.post())
        return web.json_response(self.discovery())

    def discovery(self) -> JsonObject:
        places = {"jwks_uri": "keys", "authorization_endpoint": "authorize", "token_endpoint": "token"}
        return {"issuer": self.issuer, **{name: f"{self.issuer}/{path}" for name, path in places.items()}}

    def authorize(self, verifier: str, redirect_uri: str, **claims: Any) -> str:
        """A code, as a user gets it who has logged in at a page that keeps this verifier."""
        code = f"code-{len(self.codes)}-{self.asked.total()}"
        challenge = encoded(hashlib.sha256(verifier.encode()).digest())
        self.codes[code] = {"challenge": challenge, "redirect_uri": redirect_uri, "claims": {"aud": CLIENT, **claims}}
        return code

    def _exchange(self, form: Mapping[str, Any]) -> web.StreamResponse:
        """As a public client's (RFC 6749, 4.1.3; RFC 7636, 4.6): a code counts once."""
        issued = self.codes.pop(str(form["code"]), None)
        challenge = encoded(hashlib.sha256(str(form["code_verifier"]).encode()).digest())
        fits = issued and (issued["challenge"], issued["redirect_uri"]) == (challenge, form["redirect_uri"])
        if not issued or not fits or form["client_id"] != CLIENT or form["grant_type"] != "authorization_code":
            return web.json_response({"error": "invalid_grant"}, status=400)
        return web.json_response({"access_token": "opaque", "id_token": self.jwt(**issued["claims"])})

    def claims(self, **more: Any) -> JsonObject:
        """Those of ada; None takes one out."""
        now = int(time.time())
        usual = {"iss": self.issuer, "aud": AUDIENCE, "sub": "ada", "iat": now, "exp": now + 300, "groups": ["staff"]}
        return {name: value for name, value in {**usual, **more}.items() if value is not None}

    def jwt(self, key: Any = RSA_KEY, algorithm: str = "RS256", kid: str | None = "one", **claims: Any) -> str:
        return jwt.encode(self.claims(**claims), key, algorithm, {"kid": kid} if kid else {})

    def settings(self, *grants: JsonObject, **more: Any) -> Oidc:
        document = {"issuer": self.issuer, "audience": AUDIENCE, "grants": list(grants) or [VIEWER], **more}
        return convert(document, Oidc)

    def people(
        self, *grants: JsonObject, intervals: Intervals = INTERVALS, seconds: float = 5.0, **more: Any
    ) -> contextlib.AbstractAsyncContextManager[People]:
        return open_people(self.settings(*grants, **more), intervals, seconds)


@contextlib.asynccontextmanager
async def running_provider() -> AsyncIterator[Provider]:
    provider = Provider()
    await provider.start()
    try:
        yield provider
    finally:
        await provider.stop()


async def eventually(is_so: Callable[[], Awaitable[bool]], what: str, seconds: float = 20.0) -> None:
    """Returns once it is so; fails where it never is."""
    end = time.monotonic() + seconds
    while not await is_so():
        assert time.monotonic() < end, f"expected that {what}"
        await asyncio.sleep(0.01)
