"""Security requirements of a document as comments: what they require of clients, and which policy requires it here."""

from __future__ import annotations

from gatewright_documents.values import JsonObject, JsonValue, KeyPath

from gatewright_cli.openapi.source import Source

JWT = "a policy such as jwt-auth"
TOKEN = "a policy such as jwt-auth or oauth2-introspection"  # noqa: S105 - a hint
OPENID = "a policy such as jwt-auth, or oidc-login for browsers"
API_KEY = "a policy such as api-key-auth"
PASSWORD = "a policy such as basic-auth"  # noqa: S105 - a hint
CERTIFICATE = "a policy such as mtls-auth, behind a listener with clientCertificates"
SIGNATURE = "a policy such as hmac-auth"
OWN = "a policy of your own"
PLACES = ("header", "query", "cookie")
"""Where an API key may be; parameters of api-key-auth have the same names."""


def requirements(source: Source, path: KeyPath, title: str = "security") -> tuple[str, ...]:
    """Comments on the `security` at path, and on policies that require the same; none without `security`."""
    security = source.at(path)
    if not isinstance(security, list):
        return ()
    alternatives = [requirement for requirement in security if isinstance(requirement, dict)]
    if not any(alternatives):
        return (f"{title}: none",)
    required = [
        " and ".join(_scheme(source, name, scopes) for name, scopes in requirement.items())
        for requirement in alternatives
        if requirement
    ]
    source.note(("components", "securitySchemes"), "security becomes comments: no policy is attached that asks for it")
    schemes = dict.fromkeys(name for requirement in alternatives for name in requirement)
    hints = (f"for {name}, attach {_policy(_definition(source, name))}" for name in schemes)
    optional = " (or none)" if len(required) < len(alternatives) else ""
    return f"{title}: {' or '.join(required)}{optional}", *hints


def _definition(source: Source, name: str) -> JsonObject:
    path: KeyPath = ("components", "securitySchemes", name)
    scheme = source.at(path)
    if isinstance(scheme, dict) and "$ref" in scheme:
        located = source.resolve(scheme, path)
        scheme = located.value if located else None
    return scheme if isinstance(scheme, dict) else {}


def _scheme(source: Source, name: str, scopes: JsonValue) -> str:
    scheme = _definition(source, name)
    words = [_kind(scheme)]
    if isinstance(scopes, list) and scopes:
        words.append("scopes " + " ".join(map(str, scopes)))
    return f"{name} ({', '.join(words)})"


def _kind(scheme: JsonObject) -> str:
    match scheme.get("type"):
        case "apiKey":
            return f"API key, {scheme.get('in')} {scheme.get('name')}"
        case "http":
            form = scheme.get("bearerFormat")
            return f"HTTP {scheme.get('scheme')}" + (f", {form}" if form else "")
        case "oauth2":
            return "OAuth 2"
        case "openIdConnect":
            return f"OpenID Connect, {scheme.get('openIdConnectUrl')}"
        case "mutualTLS":
            return "client certificate"
        case None:
            return "not defined in components.securitySchemes"
        case other:
            return str(other)


def _policy(scheme: JsonObject) -> str:
    match scheme.get("type"), str(scheme.get("scheme")).lower():
        case "openIdConnect", _:
            return OPENID
        case "oauth2", _:
            return TOKEN
        case "http", "bearer":
            return JWT if "jwt" in str(scheme.get("bearerFormat")).lower() else TOKEN
        case "http", "basic":
            return PASSWORD
        case "apiKey", _:
            return _for_key(scheme.get("in"), str(scheme.get("name") or "x-api-key"))
        case "mutualTLS", _:
            return CERTIFICATE
    return OWN


def _for_key(place: JsonValue, name: str) -> str:
    """The policy for an API key. OpenAPI describes a signature over the body as an API key, too."""
    if "signature" in name.lower():
        return SIGNATURE
    if place not in PLACES or (place, name.lower()) == ("header", "x-api-key"):
        return API_KEY
    return f"{API_KEY}, with {place}: {name}" + ("" if place == "header" else ' and header: ""')
