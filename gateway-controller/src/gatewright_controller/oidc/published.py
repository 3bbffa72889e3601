"""What a provider publishes of itself: by its discovery document (OpenID Connect Discovery 1.0, 4) and its JWK Set."""

from __future__ import annotations

import msgspec
from gatewright_documents.values import JsonObject

from gatewright_controller.oidc.documents import DocumentError, Documents
from gatewright_controller.oidc.keys import KeySet
from gatewright_controller.oidc.settings import Oidc


class LoginEndpoints(msgspec.Struct, frozen=True):
    """Where people log in, and where a code is exchanged."""

    authorization: str
    token: str


class Published(msgspec.Struct, frozen=True):
    """What a fetch has found."""

    keys: KeySet
    login: LoginEndpoints | None


async def fetch_published(documents: Documents, oidc: Oidc) -> Published:
    """Raises `DocumentError`."""
    needs_discovery = oidc.jwks_uri is None or oidc.client_id is not None
    discovered = await _discover(documents, oidc.issuer) if needs_discovery else {}
    uri = oidc.jwks_uri or _endpoint(discovered, "jwks_uri", oidc.issuer)
    login = _login_endpoints(discovered, oidc.issuer) if oidc.client_id else None
    try:
        return Published(KeySet(await documents.get(uri)), login)
    except ValueError as error:
        raise DocumentError(f"{uri}: {error}") from None


async def _discover(documents: Documents, issuer: str) -> JsonObject:
    place = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
    document = await documents.get(place)
    if document.get("issuer") != issuer:
        raise DocumentError(f"{place}: expected the issuer {issuer}, got {str(document.get('issuer'))[:200]}")
    return document


def _login_endpoints(discovered: JsonObject, issuer: str) -> LoginEndpoints:
    authorization, token = (_endpoint(discovered, f"{name}_endpoint", issuer) for name in ("authorization", "token"))
    return LoginEndpoints(authorization, token)


def _endpoint(discovered: JsonObject, name: str, issuer: str) -> str:
    """A URL of the discovery document; as safe as the issuer's own."""
    schemes = ("https://",) if issuer.startswith("https://") else ("https://", "http://")
    url = discovered.get(name)
    if not isinstance(url, str) or not url.startswith(schemes) or not url.isascii() or not url.isprintable():
        raise DocumentError(f"{issuer}: expected {name} with {' or '.join(schemes)}, got {str(url)[:200]}")
    return url
