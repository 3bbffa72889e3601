"""The needs of the rows of authentication policies: a signing key, a server that introspects tokens, and a session.

They are made anew for each run. A row has one token, which its policy caches, so that repeated requests are measured.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from sdk import testing

from bench.rows import Attachment, Headers, Row

POLICIES = Path(__file__).resolve().parent.parent / "policies"
ISSUER, AUDIENCE, HOURS = "https://id.example", "orders", 24


def jwt_row() -> Row:
    """jwt-auth with an RSA key in its parameters, and a token signed by RS256."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = json.loads(RSAAlgorithm.to_jwk(key.public_key())) | {"kid": "bench"}
    now = int(time.time())
    claims = {
        "iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "scope": "read write", "exp": now + HOURS * 3600, "iat": now,
        "jti": "4bf92f3577b34da6a3ce929d0e0e4736", "client_id": "web",
    }  # fmt: skip
    issuer = {"issuer": ISSUER, "audiences": [AUDIENCE], "jwks": {"keys": [public]}}
    params = {"issuers": [issuer], "scopes": ["read"], "claimHeaders": {"x-user": "sub"}}
    token = jwt.encode(claims, key, "RS256", {"kid": "bench"})
    return row({"name": "jwt-auth", "version": "v1", "params": params}, {"Authorization": f"Bearer {token}"})


def row(attachment: Attachment, sent: Headers) -> Row:
    """A row of a client that sends these headers; the upstream must receive the user ada."""
    name = str(attachment["name"])
    return Row(f"shipped-{name}", name, (attachment,), upstream={"X-User": "ada"}, sent=sent)


def oidc_row() -> Row:
    """oidc-login with a session that the policy's own code has sealed. Its provider need not run."""
    issuer, client, origin, key = "http://127.0.0.1:1", "bench", "http://127.0.0.1", secrets.token_urlsafe(32)
    params = {
        "issuer": issuer, "clientId": client, "clientSecret": "bench", "origin": origin, "cookieKeys": [key],
        "callbackPath": "/callback", "claimHeaders": {"x-user": "sub"},
    }  # fmt: skip
    policy = testing.load_policy(str(POLICIES / "oidc-login" / "policy.py"))
    claims = {"iss": issuer, "aud": client, "sub": "ada", "exp": int(time.time()), "nonce": secrets.token_urlsafe(32)}
    session = {"until": time.time() + HOURS * 3600, "claims": claims}
    sealed = policy.Seal([testing.secret(key)], policy.context(params)).close("session", session)
    (line,) = policy.Jar("session", secure=False).chunks(sealed, HOURS * 3600)
    attachment = {"name": "oidc-login", "version": "v1", "params": params}
    return row(attachment, {"Cookie": line.partition(";")[0]})


@contextlib.contextmanager
def introspection_row() -> Iterator[Row]:
    """oauth2-introspection, whose server runs in this process."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Introspection) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        params = {
            "url": f"http://127.0.0.1:{server.server_port}/", "clientId": "bench", "clientSecret": "bench",
            "scopes": ["read"], "claimHeaders": {"x-user": "sub"}, "cacheSeconds": 3600,
        }  # fmt: skip
        attachment = {"name": "oauth2-introspection", "version": "v1", "params": params, "timeout": "5s"}
        yield row(attachment, {"Authorization": "Bearer 2YotnFZFEjr1zCsicMWpAA"})
        server.shutdown()


class _Introspection(BaseHTTPRequestHandler):
    """Answers that any token is active and belongs to ada."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        body = json.dumps({"active": True, "sub": "ada", "scope": "read write", "client_id": "web"}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Logs nothing."""
