"""Counts the tokens and the cost of requests to language models, by API, model, client and team.

The request phase recognises the request, and asks for usage where a streamed answer would have none. The response
passes unchanged, piece by piece, but for the chunk of usage that the client has not asked for; at its end, also when
client or provider leave in the middle, the usage that it had is counted.

Limits. A request whose client leaves before the answer begins is not counted: no function of the policy runs then. The
access log has the tokens and the cost of an answer that ends. Where client or provider leave in the middle, it has the
request's shape and model alone: Envoy takes no values then. Metrics, the metadata of recorded exchanges and lines of
the log (`logUsage`) have what such an answer took.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sdk import clock, llm
from sdk.policy import (
    Chunks,
    RequestAction,
    RequestContext,
    ResponseAction,
    ResponseContext,
    ResponseStreamContext,
    UpstreamRequestModifications,
    UpstreamResponseModifications,
)

if TYPE_CHECKING:  # the folder's name cannot be a package's
    from counting import tally
    from counting.labels import Labels, value_of
    from counting.tariff import Tariff, open_tariff
else:
    from .counting import tally
    from .counting.labels import Labels, value_of
    from .counting.tariff import Tariff, open_tariff

Json = dict[str, Any]
log = logging.getLogger(__name__)
NOTE = "llm-usage"
"""The key of the exchange's metadata: what the request asked, and from the answer's end on what it took."""


def prepare(params: Json) -> Iterator[Tariff]:
    with open_tariff(params) as tariff:
        yield tariff


def on_request(ctx: RequestContext, params: Json) -> RequestAction:
    request = llm.read_request(ctx.method, ctx.path, ctx.body or b"")
    client, team = value_of(ctx, params["client"]), value_of(ctx, params["team"])
    if request is None:
        tally.count(Labels(ctx.policy.api_name, "", client, team), "unknown_shape")
        return None
    body = llm.with_stream_usage(request) if params["askForUsage"] else None
    ctx.metadata[NOTE] = {
        "shape": request.shape,
        "model": request.model,
        "streams": request.streams,
        "hidesUsage": body is not None,
        "client": client,
        "team": team,
        "began": clock.now(),
    }
    return UpstreamRequestModifications(body=body, analytics_metadata=analytics(request, gen_ai=params["genAi"]))


def analytics(request: llm.LlmRequest, *, gen_ai: bool) -> Json:
    values: Json = {"llm": {"shape": request.shape, "model": request.model, "streams": request.streams}}
    if gen_ai:
        values["gen_ai.operation.name"] = tally.OPERATIONS[request.shape]
        values["gen_ai.request.model"] = request.model
    return values


def on_response(ctx: ResponseContext, params: Json) -> ResponseAction:
    note = ctx.metadata.get(NOTE)
    if note is not None and ctx.status_code in (204, 304):  # no on_response_stream follows
        values = settle(ctx, note, llm.AnswerReader(note["shape"]), params, is_whole=True)
        return UpstreamResponseModifications(analytics_metadata=values)
    return None


async def on_response_stream(ctx: ResponseStreamContext, chunks: Chunks, params: Json) -> Chunks:
    note = ctx.metadata.get(NOTE)
    if note is None:
        async for chunk in chunks:
            yield chunk
        return
    reader = llm.AnswerReader(note["shape"], ctx.headers.get("content-type", ""))
    is_whole = False
    try:
        async for piece in llm.read_answer(chunks, reader, hides_usage=note["hidesUsage"]):
            yield piece
        is_whole = True
    finally:
        reader.end()
        ctx.analytics.update(settle(ctx, note, reader, params, is_whole=is_whole))


def settle(ctx: ResponseContext, note: Json, reader: llm.AnswerReader, params: Json, *, is_whole: bool) -> Json:
    """Counts an answer at its end. Returns its values for the access log."""
    usage = reader.usage
    models = tuple(name for name in (reader.model, note["model"]) if name)
    tariff: Tariff = ctx.prepared
    cost = None if usage is None else tariff.cost(models, usage)
    outcome = outcome_of(ctx.status_code, reader, is_whole=is_whole)
    is_answer = usage is not None or outcome == "no_usage"
    model = reader.model or (note["model"] if is_answer else "")  # a name that only the client knows makes no label
    labels = Labels(ctx.policy.api_name, model, note["client"], note["team"])
    tally.count(labels, outcome, usage, cost)
    if params["genAi"]:
        tally.observe_gen_ai(note["shape"], labels, usage, clock.now() - note["began"])
    result = {"outcome": outcome, "model": model, **amounts(usage, cost)}
    ctx.metadata[NOTE] = {**note, **result}
    if params["logUsage"]:
        log.info("%s", json.dumps({"llm": {"shape": note["shape"], **labels._asdict(), **result}}))
    return final_analytics(note, reader, outcome, amounts(usage, cost), gen_ai=params["genAi"])


def final_analytics(note: Json, reader: llm.AnswerReader, outcome: str, amounts: Json, *, gen_ai: bool) -> Json:
    """The values of an answer, which take the place of its request's."""
    values = {name: note[name] for name in ("shape", "model", "streams")} | {"outcome": outcome}
    if reader.model:
        values["model"] = reader.model
    values |= amounts.get("tokens", {})
    if "cost" in amounts:
        values["cost"] = amounts["cost"]
    result: Json = {"llm": values}
    if gen_ai and reader.model:
        result["gen_ai.response.model"] = reader.model
    if gen_ai and reader.usage is not None:
        result["gen_ai.usage.input_tokens"] = reader.usage.input
        result["gen_ai.usage.output_tokens"] = reader.usage.output
    return result


def outcome_of(status: int, reader: llm.AnswerReader, *, is_whole: bool) -> tally.Outcome:
    """What became of an answer. A body that ends as HTTP demands may still have no end, by its shape."""
    has_usage = reader.usage is not None
    is_ended = reader.finished or (has_usage and reader.shape in ("chat", "completions"))  # some send no [DONE]
    has_begun = has_usage or reader.model != ""
    if reader.error is not None or status >= 400:
        return "error"
    if not is_whole or (has_begun and not is_ended):
        return "aborted"
    return "counted" if has_usage else "no_usage"


def amounts(usage: llm.Usage | None, cost: Decimal | None) -> Json:
    """What an answer took, as JSON: a cost as text, to the last digit."""
    if usage is None:
        return {}
    tokens = {"input": usage.input, "output": usage.output, "cached": usage.cached}
    tokens |= {"cacheWritten": usage.cache_written, "reasoning": usage.reasoning}
    return {"tokens": tokens} if cost is None else {"tokens": tokens, "cost": f"{cost.normalize():f}"}
