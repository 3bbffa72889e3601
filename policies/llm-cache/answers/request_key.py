"""Which requests to a model are the same, whose they are, and which of them have an answer that may be kept. No I/O."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from sdk.llm import LlmRequest
from sdk.policy import RequestContext

FORM_MEMBERS = {"stream", "stream_options"}
"""Members that change the form of an answer, and not its content."""
CREDENTIALS = ("authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie")
Json = dict[str, Any]


def key_of(ctx: RequestContext, request: LlmRequest, client: Any, params: Mapping[str, Any]) -> str:
    """The key of the request's answer: a digest, so that the store has nothing of the request.

    The order of an object's members does not count. RecursionError: the body has too many levels.
    """
    return digest_of(ctx, request, request.document, client, params)


def scope_of(ctx: RequestContext, request: LlmRequest, rest: Json, client: Any, params: Mapping[str, Any]) -> str:
    """The scope of requests that differ by their question only. rest: the document without the question."""
    return digest_of(ctx, request, rest, client, params)


def digest_of(ctx: RequestContext, request: LlmRequest, whole: Json, client: Any, params: Mapping[str, Any]) -> str:
    ignored = FORM_MEMBERS | set(params["ignoredMembers"])
    document = {name: value for name, value in whole.items() if name not in ignored}
    headers = {name.lower(): ctx.headers.get_all(name) for name in params["headers"] if name in ctx.headers}
    target = [ctx.scheme, ctx.authority.lower(), ctx.raw_path, ctx.query, ctx.upstream]
    text = json.dumps([form_of(request), target, client, headers, document], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def form_of(request: LlmRequest) -> str:
    """The form of the answer that the client expects; each has an entry of its own."""
    if not request.streams:
        return "whole"
    return "stream with usage" if request.asks_for_usage else "stream"


def bypass_reason(ctx: RequestContext, request: LlmRequest, params: Mapping[str, Any]) -> str:
    """Why the answer is neither looked up nor kept, in a word; "" if it may be."""
    if request.is_ambiguous:
        return "ambiguous"
    document = request.document
    if request.shape == "responses" and (document.get("background") is True or document.get("conversation")):
        return "state"
    if is_embedding(ctx, request) or params["temperature"] == "any":
        return ""
    temperatures = temperatures_of(request)
    if not temperatures:
        return "" if params["temperature"] == "unset" else "temperature"
    return "" if all(is_zero(value) for value in temperatures) else "temperature"


def is_embedding(ctx: RequestContext, request: LlmRequest) -> bool:
    return request.shape == "embeddings" or (request.shape == "gemini" and "mbedContent" in ctx.path)


def temperatures_of(request: LlmRequest) -> list[Any]:
    """The request's values of temperature, which are several if Gemini's configuration has both of its names."""
    holders: list[Any] = [request.document]
    if request.shape == "gemini":
        holders = [request.document.get(name) for name in ("generationConfig", "generation_config")]
    values = [holder.get("temperature") for holder in holders if isinstance(holder, dict)]
    return [value for value in values if value is not None]


def is_zero(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == 0


# ------------------------------------------------------------------ clients


def client_of(ctx: RequestContext, parts: Sequence[Mapping[str, str]]) -> list[Any] | None:
    """The values of the parameter `per`; None if the request lacks one of them, so that its client is not known."""
    values = [value_of(ctx, part["from"], part.get("name", "")) for part in parts]
    return None if any(value in (None, "", []) for value in values) else values


def value_of(ctx: RequestContext, source: str, name: str) -> Any:
    if source == "header":
        return ctx.headers.get_all(name)
    if source == "client":
        return sender_of(ctx)
    identity = ctx.identity
    if identity is None:
        return None
    match source:
        case "subject":
            return [identity.issuer, identity.subject]
        case "consumer":
            return identity.consumer
        case "label":
            return identity.labels.get(name)
        case _:
            return identity.claims.get(name)


def sender_of(ctx: RequestContext) -> list[Any]:
    """The identity that a policy has verified, or else the certificate and the credentials that the request has."""
    identity = ctx.identity
    if identity is not None:
        return ["identity", identity.issuer, identity.subject, identity.consumer]
    certificate = [] if ctx.peer is None else [["certificate", ctx.peer.fingerprint]]
    headers = [[name, ctx.headers.get_all(name)] for name in CREDENTIALS if name in ctx.headers]
    return [*certificate, *headers]


# ------------------------------------------------------------------ Cache-Control


def directives_of(lines: Sequence[str]) -> dict[str, str]:
    """The directives of a request's Cache-Control (RFC 9111, 5.2.1) by their names in lower case."""
    parts = [part.strip().partition("=") for line in lines for part in line.split(",")]
    return {name.strip().lower(): value.strip() for name, _, value in parts if name.strip()}


def is_too_old(age: float, directives: Mapping[str, str]) -> bool:
    """Whether the client does not accept an answer of this age. A max-age that is no number accepts none."""
    if "max-age" not in directives:
        return False
    value = directives["max-age"]
    return not (value.isascii() and value.isdigit() and len(value) < 20 and age <= int(value))
