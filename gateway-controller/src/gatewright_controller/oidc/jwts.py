"""Verifies a JWT (RFC 7519) as RFC 8725 asks: what the header may say, the signature, and for whom and when it is.

PyJWT does it; here is what it leaves to its callers.
"""

from __future__ import annotations

import re
from typing import Any

import jwt
import msgspec
from gatewright_documents.values import JsonObject

from gatewright_controller.model import milliseconds
from gatewright_controller.oidc.claims import is_name
from gatewright_controller.oidc.contract import NotSignedInError
from gatewright_controller.oidc.keys import ALGORITHMS
from gatewright_controller.oidc.settings import Oidc

FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
"""Three parts; one without a signature is a JWT, too, and is refused as such."""
LONGEST = 16 * 1024
TYPES = ("jwt", "at+jwt")
"""Of a header: an ID token or an access token (RFC 9068), and no other kind that the provider signs."""
REFUSALS: dict[type[Exception], str] = {
    jwt.ExpiredSignatureError: "it has expired; log in again",
    jwt.ImmatureSignatureError: "it is not valid yet",
    jwt.InvalidAudienceError: "it is for another audience",
    jwt.InvalidSignatureError: "its signature is not valid",
}


class Signer(msgspec.Struct, frozen=True):
    """Which key a JWT says it is signed with."""

    algorithm: str
    kid: str | None


def is_jwt(text: str) -> bool:
    """Whether it has the form of one."""
    return FORM.fullmatch(text) is not None


def read_signer(text: str, oidc: Oidc) -> Signer:
    """Looks at what is not verified yet. Raises `NotSignedInError` where verifying it would be in vain."""
    if len(text) > LONGEST:
        raise refused(f"expected at most {LONGEST} characters")
    try:
        parts = jwt.api_jwt.decode_complete(text, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise refused("it cannot be read") from None
    header, issuer = parts["header"], parts["payload"].get("iss")
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if algorithm not in ALGORITHMS:
        raise refused(f"expected one of the algorithms {', '.join(ALGORITHMS)}")
    if "crit" in header or not isinstance(kid, str | None):
        raise refused("its header has a member that is not supported")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in TYPES:
        raise refused("it is neither an ID token nor an access token")
    if issuer != oidc.issuer:
        raise refused(f"expected one of the issuer {oidc.issuer}")
    return Signer(algorithm, kid)


def verify(text: str, signer: Signer, key: Any, oidc: Oidc) -> JsonObject:
    """The claims. Raises `NotSignedInError`."""
    try:
        claims: JsonObject = jwt.decode(
            text,
            key,
            algorithms=[signer.algorithm],
            issuer=oidc.issuer,
            audience=oidc.audiences,
            leeway=milliseconds(oidc.leeway) / 1000,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )
    except jwt.PyJWTError as error:
        raise refused(REFUSALS.get(type(error), "a claim is missing or is not of its type")) from None
    times = [claims[name] for name in ("exp", "nbf", "iat") if name in claims]
    if not all(map(_is_time, times)):
        raise refused("expected exp, nbf and iat to be numbers")
    if not is_name(claims["sub"]):
        raise refused("expected sub to be text of at most 255 characters that can be printed")
    return claims


def refused(reason: str) -> NotSignedInError:
    """The error for a JWT, with the reason in its words."""
    return NotSignedInError(f"the JWT is refused: {reason}")


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
