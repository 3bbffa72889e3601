"""Sends requests to language models to the upstreams that have the models, one after the other until one answers.

The request phase finds the rule of the model's name and names the attempts; the gateway makes them. Each has a body
with the name that the model has at its upstream, in the format that is spoken there, and the upstream's credentials.
The response phase sees the answer that won, and translates it into the client's format. It runs before that of the
policies that stand before this one, so those read answers in the client's format, from each provider.

Limits. Chat completions and messages are translated, other requests are not. Latencies are those that this executor
process has seen since the attachment was deployed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sdk import clock, llm
from sdk.metrics import Counter
from sdk.policy import (
    Attempt,
    Chunks,
    ImmediateResponse,
    RequestAction,
    RequestContext,
    ResponseAction,
    ResponseContext,
    ResponseStreamContext,
    UpstreamRequestModifications,
)

if TYPE_CHECKING:  # the folder's name cannot be a package's
    from routing.answers import translate
    from routing.attempts import attempt_at, shape_at
    from routing.rules import Rule, Rules
else:
    from .routing.answers import translate
    from .routing.attempts import attempt_at, shape_at
    from .routing.rules import Rule, Rules

Json = dict[str, Any]
NOTE = "llm-route"
"""The key of the exchange's metadata: the rule, and the upstreams in the order in which they are tried."""
CREDENTIALS = ("authorization", "x-api-key", "api-key", "x-goog-api-key")
FAILURES = (408, 425, 429)
"""Beside 500 and above, what the gateway tries another upstream for."""
ANSWERS = Counter(
    "llm_route_answers_total",
    "Answers to requests for models, by the attempt.",
    ["api", "model", "upstream", "attempt"],
)


def prepare(params: Json) -> Rules:
    return Rules(params["models"])


def on_request(ctx: RequestContext, params: Json) -> RequestAction:
    request = llm.read_request(ctx.method, ctx.path, ctx.body or b"")
    if request is None:
        return None
    rules: Rules = ctx.prepared
    rule = rules.find(request.model)
    if rule is None:
        return None if params["unknownModels"] == "pass" else refusal(request.model)
    attempts: list[Attempt] = []
    shapes: dict[str, llm.Shape] = {}
    problem = ""
    for target in rule.in_order(rules.random):
        try:
            attempts.append(attempt_at(target, request, ctx))
            shapes[target.upstream] = shape_at(target, request.shape)
        except llm.TranslationError as error:
            problem = str(error)
    if not attempts:
        return llm.problem(400, f"no provider of the model {request.model!r} can take this request: {problem}")
    ctx.metadata[NOTE] = note_of(request, rule, shapes)
    return send(ctx, rule, attempts, translates="translated" in ctx.metadata[NOTE])


def note_of(request: llm.LlmRequest, rule: Rule, shapes: dict[str, llm.Shape]) -> Json:
    note: Json = {"model": rule.name, "upstreams": list(shapes)}
    if translated := {upstream: shape for upstream, shape in shapes.items() if shape != request.shape}:
        note |= {"shape": request.shape, "wantsUsage": request.asks_for_usage, "translated": translated}
    return note | ({"began": clock.monotonic()} if rule.order == "latency" else {})


def send(ctx: RequestContext, rule: Rule, attempts: list[Attempt], *, translates: bool) -> RequestAction:
    credentials = CREDENTIALS if rule.has_credentials else ()
    action = UpstreamRequestModifications(
        # A translated answer has to be decoded, so the provider need not encode it.
        remove_headers=[*credentials, "accept-encoding"] if translates else list(credentials),
        analytics_metadata={"llmRoute": {"model": rule.name}},
    )
    if len(attempts) > 1:
        action.attempts = attempts
    else:
        choose(action, attempts[0], ctx)
    return action


def choose(action: UpstreamRequestModifications, only: Attempt, ctx: RequestContext) -> None:
    """Makes the request that of the only attempt, for which an operation needs no `failover`."""
    action.upstream, action.set_headers, action.body = only.upstream, only.set_headers, only.body
    if only.path is not None:
        action.path = ctx.api_context.rstrip("/") + only.path


def refusal(model: str) -> ImmediateResponse:
    """In a form that clients of OpenAI and of Anthropic read."""
    message = f"the model {model!r} is none of this API's: ask for one that its publisher names"
    error = {"type": "not_found_error", "code": "model_not_found", "message": message}
    return ImmediateResponse(404, {"content-type": "application/json"}, json.dumps({"type": "error", "error": error}))


def on_response(ctx: ResponseContext, params: Json) -> ResponseAction:
    note = ctx.metadata.get(NOTE)
    if note is None:
        return None
    upstream, tried = ctx.request.upstream or "", note["upstreams"]
    attempt = tried.index(upstream) + 1 if upstream in tried else 0
    ANSWERS.inc(api=ctx.policy.api_name, model=note["model"], upstream=upstream, attempt=str(attempt))
    rules: Rules = ctx.prepared
    if "began" in note and (rule := rules.named(note["model"])) is not None:
        has_failed = ctx.status_code >= 500 or ctx.status_code in FAILURES
        rule.learn(tried, upstream, clock.monotonic() - note["began"], has_failed=has_failed)
    ctx.metadata[NOTE] = {**note, "answeredBy": upstream}
    return None


async def on_response_stream(ctx: ResponseStreamContext, chunks: Chunks, params: Json) -> Chunks:
    note = ctx.metadata.get(NOTE) or {}
    shape = note.get("translated", {}).get(ctx.request.upstream)
    if shape is not None:
        chunks = translate(ctx, chunks, shape, note["shape"], wants_usage=note["wantsUsage"])
    async for chunk in chunks:
        yield chunk
