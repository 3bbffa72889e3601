"""Exchanges the code of a login for an ID token (OpenID Connect Core 1.0, 3.1.3), as a public client with PKCE."""

from __future__ import annotations

import logging
import secrets

from gatewright_documents.values import JsonObject

from gatewright_controller.oidc.contract import NotSignedInError, ProviderAnswer, ProviderAwayError
from gatewright_controller.oidc.documents import DocumentError, Documents
from gatewright_controller.oidc.published import LoginEndpoints

log = logging.getLogger(__name__)
REFUSALS = (400, 401, 403)
"""Statuses of a token endpoint that does not accept the code or the client (RFC 6749, 5.2)."""


async def exchange(documents: Documents, endpoints: LoginEndpoints, client_id: str, answer: ProviderAnswer) -> str:
    """The ID token, not yet verified. Raises `NotSignedInError`, `ProviderAwayError`."""
    form = {
        "grant_type": "authorization_code",
        "client_id": client_id,
        "code": answer.code,
        "code_verifier": answer.code_verifier,
        "redirect_uri": answer.redirect_uri,
    }
    try:
        token = (await documents.post(endpoints.token, form)).get("id_token")
    except DocumentError as error:
        log.warning("a code was not exchanged: %s", error)
        if error.status in REFUSALS:
            raise NotSignedInError("the provider does not accept this login; log in again") from None
        raise ProviderAwayError(f"the login cannot be finished: {error}") from None
    if not isinstance(token, str):
        raise NotSignedInError("the provider has sent no ID token; its client has to have the scope openid")
    return token


def check_login(claims: JsonObject, client_id: str, nonce: str) -> None:
    """What an ID token has to say beyond what any JWT has. Raises `NotSignedInError`."""
    audience, own = claims["aud"], claims.get("nonce")
    if client_id not in (audience if isinstance(audience, list) else [audience]):
        raise NotSignedInError("the ID token is for another client")
    if claims.get("azp", client_id) != client_id:
        raise NotSignedInError("the ID token was issued to another client")
    if not isinstance(own, str) or not secrets.compare_digest(own.encode(), nonce.encode()):
        raise NotSignedInError("the ID token is of another login; log in again")
