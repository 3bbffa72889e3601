"""The request at each target: its path, its body with the model's name there, and its credentials."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sdk import llm
from sdk.policy import Attempt, RequestContext

if TYPE_CHECKING:  # the folder's name cannot be a package's
    from routing.rules import Target
else:
    from .rules import Target

ANTHROPIC_VERSION = "2023-06-01"
"""The version of Anthropic's API that translated requests name."""
OF_OPENAI = ("chat", "completions", "responses", "embeddings")


def shape_at(target: Target, shape: llm.Shape) -> llm.Shape:
    """The shape in which the target gets a request of this shape."""
    match target.format:
        case "openai":
            return shape if shape in OF_OPENAI else "chat"
        case "anthropic":
            return "messages"
        case _:
            return shape


def attempt_at(target: Target, request: llm.LlmRequest, ctx: RequestContext) -> Attempt:
    """TranslationError: the target's provider has nothing like this request."""
    to = shape_at(target, request.shape)
    if to != request.shape:
        return translated_attempt(target, request, ctx, to)
    path, body = target.path, None
    if request.shape == "gemini":
        if target.model is not None and path is None:
            path = gemini_path(ctx, target.model)
    elif request.is_ambiguous or target.model not in (None, request.model):
        body = json.dumps({**request.document, "model": target.model or request.model})
    return Attempt(target.upstream, dict(target.headers), path, body)


def translated_attempt(target: Target, request: llm.LlmRequest, ctx: RequestContext, to: llm.Shape) -> Attempt:
    document = llm.translate_request(
        request, to, target.model or request.model, max_tokens=target.max_tokens, limit_name=target.limit_name
    )
    headers = {"anthropic-version": ANTHROPIC_VERSION} if to == "messages" else {}
    path = target.path or llm.translate_path(path_behind(ctx), to)
    return Attempt(target.upstream, headers | dict(target.headers), path, json.dumps(document))


def path_behind(ctx: RequestContext) -> str:
    """The path behind the API's context."""
    return ctx.path.removeprefix(ctx.api_context.rstrip("/"))


def gemini_path(ctx: RequestContext, model: str) -> str:
    """The path behind the API's context, with another model: /v1beta/models/MODEL:generateContent."""
    before, _, last = path_behind(ctx).rpartition("/")
    return f"{before}/{model}:{last.rpartition(':')[2]}"
