"""Asks Open Policy Agent whether a request may pass: https://www.openpolicyagent.org/docs/rest-api#data-api

The input has the names of conditions (docs/reference/conditions.md), without `request.`, and `path_segments` (each
decoded), `identity`, `api` and `metadata`. An instance has one HTTP client with a pool of connections.

The policy fails closed: an undefined decision is a refusal, and without a valid decision (no answer in time, a status
other than 200, a redirect, another format, more than MAX_ANSWER_BYTES bytes) the client gets 503.

Limits: each process has its own cache of decisions.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
from sdk import clock
from sdk.metrics import Counter
from sdk.policy import (
    Identity,
    ImmediateResponse,
    Peer,
    RequestAction,
    RequestContext,
    UpstreamRequestModifications,
)

MAX_ANSWER_BYTES = 64 * 1024
MAX_CACHED = 10_000
CONNECTIONS = 256

DECISIONS = Counter(
    "opa_decisions_total", "Decisions of OPA: allow, deny, or none if there was no valid one.", labels=["decision"]
)
log = logging.getLogger(__name__)


class InvalidDecisionError(Exception):
    """OPA's answer is no valid decision. The text is for the log."""


Decision = dict[str, Any]
"""A valid decision of OPA: {"allow": bool, "status": int, "headers": {…}, "body": …, "identity": {…}}."""


class Opa:
    """Asks OPA, and caches its last decisions. It runs in one event loop."""

    def __init__(self, session: aiohttp.ClientSession, params: Mapping[str, Any]) -> None:
        self._session = session
        self._url = f"{params['url'].rstrip('/')}/v1/data/{params['path']}"
        self._seconds = params["timeoutMilliseconds"] / 1000
        self._cache_seconds, self.max_cached = params["cacheSeconds"], MAX_CACHED
        self._may_set = {name.lower() for name in params["upstreamHeaders"]}
        self._cached: OrderedDict[bytes, tuple[float, Decision]] = OrderedDict()

    async def decide(self, document: Mapping[str, Any], seconds: float, traceparent: str) -> Decision:
        """Returns OPA's decision on an input document. aiohttp.ClientError, TimeoutError, InvalidDecisionError."""
        question = _json({"input": document})
        key = hashlib.sha256(question).digest()
        until, decision = self._cached.get(key, (0.0, {}))
        if clock.monotonic() < until:
            return decision
        limit = aiohttp.ClientTimeout(total=max(min(self._seconds, seconds), 0.001))  # for aiohttp 0 is no limit
        decision = parse_decision(await self._ask(question, limit, traceparent), self._may_set)
        if self._cache_seconds:
            self._cached[key] = (clock.monotonic() + self._cache_seconds, decision)
            self._cached.move_to_end(key)
            if len(self._cached) > self.max_cached:
                self._cached.popitem(last=False)
        return decision

    async def _ask(self, question: bytes, limit: aiohttp.ClientTimeout, traceparent: str) -> bytes:
        headers = {"traceparent": traceparent} if traceparent else {}
        try:
            return await self._post(question, limit, headers)
        except aiohttp.ServerDisconnectedError:  # the server has closed an idle connection; asking again is safe
            return await self._post(question, limit, headers)

    async def _post(self, question: bytes, limit: aiohttp.ClientTimeout, headers: Mapping[str, str]) -> bytes:
        posting = self._session.post(self._url, data=question, timeout=limit, headers=headers, allow_redirects=False)
        async with posting as answer:
            if answer.status != 200:
                raise InvalidDecisionError(f"expected the status 200, got {answer.status}")
            text = bytearray()
            async for chunk in answer.content.iter_any():
                text += chunk
                if len(text) > MAX_ANSWER_BYTES:
                    answer.close()
                    raise InvalidDecisionError(f"expected at most {MAX_ANSWER_BYTES} bytes, got more")
            return bytes(text)


async def prepare(params: dict[str, Any]) -> AsyncIterator[Opa]:
    headers = {"content-type": "application/json", "accept": "application/json", "accept-encoding": "identity"}
    if "token" in params:
        headers["authorization"] = f"Bearer {token_of(params)}"
    connector, no_cookies = aiohttp.TCPConnector(limit=CONNECTIONS), aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=no_cookies, headers=headers, auto_decompress=False
    ) as session:
        yield Opa(session, params)


def token_of(params: dict[str, Any]) -> str:
    """Returns the token. ValueError: it is not valid in a header, which the schema cannot check for a named secret."""
    token: str = params["token"].reveal()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("token: expected printable ASCII characters without spaces, got others")
    return token


async def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    try:
        decision = await ctx.prepared.decide(input_of(ctx, params), ctx.time_remaining() * 0.9, ctx.traceparent)
    except (aiohttp.ClientError, TimeoutError, InvalidDecisionError) as error:
        DECISIONS.inc(decision="none")
        log.warning("OPA returned no decision: %s: %s", type(error).__name__, error)
        return problem(503, {"retry-after": "1"})
    DECISIONS.inc(decision="allow" if decision["allow"] else "deny")
    if not decision["allow"]:
        return refusal(decision, params["statusCode"])
    if identity := decision.get("identity"):
        scopes, claims = tuple(identity.get("scopes", ())), identity.get("claims", {})
        ctx.identity = Identity(identity["subject"], identity.get("issuer", ""), scopes, claims, "opa")
    if params["upstreamHeaders"]:
        headers = decision.get("headers", {})
        return UpstreamRequestModifications(remove_headers=params["upstreamHeaders"], set_headers=headers)
    return None


# ---------------------------------------------------------------- the input


def input_of(ctx: RequestContext, params: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the input document for a request, as JSON values."""
    metadata = ctx.metadata.to_dict()
    return {
        "method": ctx.method,
        "path": ctx.path,
        "path_segments": ctx.path_segments,
        "query": {name: ctx.query_params.get_all(name) for name in ctx.query_params},
        "headers": {
            name.lower(): ",".join(ctx.headers.get_all(name)) for name in params["headers"] if name in ctx.headers
        },
        "host": ctx.host,
        "scheme": ctx.scheme,
        "client_ip": _without_port(ctx.client_address),
        "peer": _peer(ctx.peer),
        "identity": metadata.get("identity"),
        "api": {"name": ctx.policy.api_name, "version": ctx.policy.api_version, "operation": ctx.operation},
        "metadata": {name: metadata[name] for name in params["metadata"] if name in metadata},
    }


def _without_port(address: str) -> str:
    """Returns `::1` for `[::1]:8080`."""
    host, colon, port = address.rpartition(":")
    name = host if colon and port.isdigit() else address
    return name.removeprefix("[").removesuffix("]")


def _peer(peer: Peer | None) -> dict[str, Any] | None:
    if peer is None:
        return None
    return {
        "subject": peer.subject,
        "issuer": peer.issuer,
        "fingerprint": peer.fingerprint,
        "dns_names": peer.dns_names,
        "uris": peer.uris,
        "email_addresses": peer.email_addresses,
        "ip_addresses": peer.ip_addresses,
    }


def _json(value: Mapping[str, Any]) -> bytes:
    """JSON in UTF-8; bytes of a client that are not UTF-8 become U+FFFD."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace").encode()


# ---------------------------------------------------------------- the decision


def parse_decision(text: bytes, may_set: set[str]) -> Decision:
    """Returns the decision in OPA's answer. InvalidDecisionError: it is not valid."""
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidDecisionError(f"expected JSON, got something else: {error}") from None
    if not isinstance(answer, dict):
        raise InvalidDecisionError(f"expected an object with result, got {_type_name(answer)}")
    result = answer.get("result", False)  # undefined: no rule applies
    if isinstance(result, bool):
        return {"allow": result}
    if not isinstance(result, dict) or not isinstance(result.get("allow"), bool):
        raise InvalidDecisionError(f"expected true, false or an object with allow, got {_type_name(result)}")
    allow: bool = result["allow"]
    _check_headers(result.get("headers", {}), may_set if allow else None)
    if allow:
        _check_identity(result.get("identity"))
    else:
        status = result.get("status", 403)
        if not isinstance(status, int) or isinstance(status, bool) or not 300 <= status <= 599:
            raise InvalidDecisionError(f"expected a status from 300 to 599, got {_type_name(status)}")
    return result


def _check_headers(headers: Any, may_set: set[str] | None) -> None:
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise InvalidDecisionError("expected headers to be an object of strings, got something else")
    if may_set is not None and (others := {name.lower() for name in headers} - may_set):
        raise InvalidDecisionError(f"expected only headers of upstreamHeaders, got {', '.join(sorted(others))}")


def _check_identity(identity: Any) -> None:
    if identity is None:
        return
    kinds = {"subject": str, "issuer": str, "scopes": list, "claims": dict}
    if not isinstance(identity, dict) or not identity.get("subject"):
        raise InvalidDecisionError("expected an identity with a subject, got none")
    for name, value in identity.items():
        if name not in kinds or not isinstance(value, kinds[name]):
            raise InvalidDecisionError(
                f"expected an identity of subject, issuer, scopes and claims, got {name} as {_type_name(value)}"
            )


def _type_name(value: object) -> str:
    return type(value).__name__


# ---------------------------------------------------------------- the client's answer


def refusal(decision: Decision, status: int) -> ImmediateResponse:
    headers, body = decision.get("headers", {}), decision.get("body")
    status = decision.get("status", status)
    if body is None:
        return problem(status, headers)
    if not any(name.lower() == "content-type" for name in headers):
        kind = "text/plain; charset=utf-8" if isinstance(body, str) else "application/json"
        headers = {**headers, "content-type": kind}
    return ImmediateResponse(status, headers, body if isinstance(body, str) else json.dumps(body))


TITLES = {401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 503: "Service Unavailable"}


def problem(status: int, headers: Mapping[str, str]) -> ImmediateResponse:
    body = {"type": "about:blank", "title": TITLES.get(status, "Refused"), "status": status}
    named = {name.lower() for name in headers}
    more = {"content-type": "application/problem+json"} if "content-type" not in named else {}
    if status == 401 and "www-authenticate" not in named:
        more["www-authenticate"] = "Bearer"
    return ImmediateResponse(status, {**headers, **more}, json.dumps(body))
