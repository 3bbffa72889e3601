"""Guards requests to language models and their answers: patterns, sizes, injections, a moderation service, own checks.

The request phase checks a prompt before it goes on. The response phase checks an answer: whole ones before any of it
leaves, streamed ones event by event, of which it holds back what may be the beginning of a match, so that no part of a
match leaves. A stream that is blocked ends with an error of the provider's shape. docs/how-to/guardrails.md has what
clients see, the heuristics, and how much they find.

Limits. Patterns find what stands in a text, in its cleaned views and, in requests, in base64; not what another
encoding, a spelling or another language hides, nor what is divided over several messages. The arguments of tool calls
are searched as the JSON that they are. Base64 is not decoded in answers. Answers are not shown to the moderation
service. Images, audio and files are not checked. Findings never have a part of a text in them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sdk import llm
from sdk.metrics import Counter
from sdk.policy import (
    Chunks,
    Reject,
    RequestAction,
    RequestContext,
    ResponseStreamContext,
    UpstreamRequestModifications,
)

if TYPE_CHECKING:  # the folder's name cannot be a package's
    from guarding import own, prompts
    from guarding.answers import Guard, UnreadableError, guard_answer
    from guarding.moderation import UNANSWERED, Moderation, UnansweredError, open_moderation
    from guarding.refusals import Asked, Style, refusal
    from guarding.rules import Rule, compile_rules
    from guarding.verdicts import NOTE, BlockedError, Verdicts, maskings
else:
    from .guarding import own, prompts
    from .guarding.answers import Guard, UnreadableError, guard_answer
    from .guarding.moderation import UNANSWERED, Moderation, UnansweredError, open_moderation
    from .guarding.refusals import Asked, Style, refusal
    from .guarding.rules import Rule, compile_rules
    from .guarding.verdicts import NOTE, BlockedError, Verdicts, maskings

Json = dict[str, Any]
UNKNOWN = Counter("prompt_guard_unknown_total", "Requests that are none to a language model.", ["api"])
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    rules: tuple[tuple[str, Rule], ...]
    """Each with the check that it belongs to."""
    allow: tuple[Rule, ...]
    moderation: Moderation | None
    style: Style


async def prepare(params: Json) -> AsyncIterator[Prepared]:
    mode = params["mode"]
    deny = compile_rules(params["deny"], mode=mode)
    names = {rule.name for rule in deny}
    if duplicates := sorted(rule.name for rule in own.RULES if rule.name in names):
        raise ValueError(f"deny: expected names that no rule of guarding/own.py has, got {', '.join(duplicates)}")
    rules = (*(("deny", rule) for rule in deny), *(("own", rule) for rule in own.RULES))
    settings = params["refusal"]
    style = Style(settings["as"], settings["status"], settings["text"])
    async with open_moderation(params.get("moderation")) as moderation:
        yield Prepared(rules, compile_rules(params["allow"], mode=mode), moderation, style)


# ------------------------------------------------------------------ requests


async def on_request(ctx: RequestContext, params: Json) -> RequestAction:
    prepared: Prepared = ctx.prepared
    request = llm.read_request(ctx.method, ctx.path, ctx.body or b"")
    if request is None:
        UNKNOWN.inc(api=ctx.policy.api_name)
        refuses = params["unknownShapes"] == "refuse"
        return llm.problem(403, "the gateway lets only requests to language models pass") if refuses else None
    if request.is_ambiguous:
        return llm.problem(400, "the body names a member twice, so that it is not certain what the model will read")
    asked = asked_of(ctx, request)
    verdicts = Verdicts(ctx.metadata, ctx.policy.api_name, "request")
    verdicts.note |= asked.note()
    redacted: prompts.Spans = {}
    try:
        redacted = await check(ctx, request, verdicts, params)
    except UnansweredError as error:
        log.warning("the moderation service gave no verdict: %s", error)
        return llm.problem(503, "the moderation service gave no verdict on this prompt", headers={"retry-after": "1"})
    finally:
        verdicts.keep()
        verdicts.count()
    if verdicts.verdict == "block":
        detail = f"the gateway refuses this prompt: {verdicts.reason}"
        return refusal(prepared.style, asked, detail, verdicts.analytics())
    if not redacted:
        return UpstreamRequestModifications(analytics_metadata=verdicts.analytics())
    prompts.redact(request.document, redacted, params["replacement"])
    body = json.dumps(request.document, separators=(",", ":"))
    return UpstreamRequestModifications(body=body, analytics_metadata=verdicts.analytics())


def asked_of(ctx: RequestContext, request: llm.LlmRequest) -> Asked:
    is_array = request.shape == "gemini" and request.streams and ctx.query_params.get("alt") != "sse"
    return Asked(request.shape, request.model, request.streams and not is_array, is_array)


async def check(ctx: RequestContext, request: llm.LlmRequest, verdicts: Verdicts, params: Json) -> prompts.Spans:
    """All checks of a request, the cheap ones first, until one blocks. Returns what to redact."""
    prepared: Prepared = ctx.prepared
    mode = params["mode"]
    prompts.check_size(request, params["size"], verdicts, mode)
    if verdicts.verdict == "block":
        return {}
    messages = prompts.messages_of(request)
    size = len(request.body)
    redacted: prompts.Spans = await prompts.in_time(size, prompts.check_rules, messages, prepared.rules, verdicts)
    prompts.check_allow(messages, prepared.allow, verdicts, mode)
    if verdicts.verdict != "block":
        await prompts.in_time(size, prompts.check_injection, messages, params["injection"], verdicts, mode)
    if verdicts.verdict != "block" and (name := await own.judge(request, ctx)) is not None:
        verdicts.add("own", name, "log" if mode == "log" else "block")
    if verdicts.verdict != "block" and prepared.moderation is not None:
        await moderate(ctx, prepared.moderation, messages, verdicts, params)
    return redacted


async def moderate(
    ctx: RequestContext, service: Moderation, messages: list[prompts.Message], verdicts: Verdicts, params: Json
) -> None:
    settings = params["moderation"]
    texts = [message.text for message in messages if message.role in settings["roles"] and message.text]
    if not texts:
        return
    try:
        categories = await service.categories(texts, ctx.time_remaining() * 0.9)
    except UnansweredError as error:
        UNANSWERED.inc(api=ctx.policy.api_name)
        if params["mode"] == "log" or settings["whenUnanswered"] == "pass":
            log.warning("the moderation service gave no verdict, and the prompt passes: %s", error)
            verdicts.add("moderation", "unanswered", "log")
            return
        verdicts.add("moderation", "unanswered", "block")
        raise
    for category in categories:
        verdicts.add("moderation", category, "log" if params["mode"] == "log" else settings["action"])


# ------------------------------------------------------------------ answers


async def on_response_stream(ctx: ResponseStreamContext, chunks: Chunks, params: Json) -> Chunks:
    prepared: Prepared = ctx.prepared
    note = ctx.metadata.get(NOTE)
    rules = [(check, rule) for check, rule in prepared.rules if "response" in rule.directions]
    if note is None or not rules:
        async for chunk in chunks:
            yield chunk
        return
    asked = Asked(note["shape"], note["model"], note["events"], note["array"])
    verdicts = Verdicts(ctx.metadata, ctx.policy.api_name, "response")
    guard = Guard(*maskings(rules, verdicts, params["replacement"]), verdicts)
    content_type = ", ".join(ctx.headers.get_all("content-type"))
    passes = params["otherTypes"] == "pass" or guard.acting is None
    try:
        checked = guard_answer(chunks, content_type, asked.shape, guard, params["maxBytes"], passes_others=passes)
        async for chunk in checked:
            yield chunk
    except BlockedError as blocked:
        detail = f"the gateway keeps this answer back: {blocked.rule} of {blocked.check}"
        raise Reject(refusal(prepared.style, asked, detail, {})) from None
    except UnreadableError as error:
        raise Reject(llm.problem(502, f"the answer cannot be checked: {error}")) from None
    finally:
        verdicts.keep()
