"""Budgets for language models: what a request may cost is reserved before, and what it has cost is settled after.

The request phase estimates the input, adds the most output that the request allows, and reserves both in each budget.
The response phase reads the usage as the answer passes, and puts it in the place of the reservations: at the answer's
end, also when client or provider leave in the middle. docs/decisions/0101-reserve-before-settle-after.md has what the
store does.

Limits. The estimate of the input may be too low, and a request without a limit of output may have more than
`defaultMaxOutput`: then the budget is passed by the difference. If client or provider leave before the answer
has begun here, the usage is not known: the reservation counts until its hold has passed. What a provider sends right
before it resets its stream may be lost on the way, with the usage in it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

from sdk import clock, llm
from sdk.metrics import Counter
from sdk.policy import (
    Chunks,
    ImmediateResponse,
    RequestAction,
    RequestContext,
    ResponseAction,
    ResponseContext,
    ResponseStreamContext,
    UpstreamRequestModifications,
    UpstreamResponseModifications,
)
from sdk.store import AsyncStore, Reserved

if TYPE_CHECKING:  # the folder's name cannot be a package's
    from budgets.budget import Budget, Span, Tariff, budget_of, span_of
    from budgets.settling import Settlement, Settler
else:
    from .budgets.budget import Budget, Span, Tariff, budget_of, span_of
    from .budgets.settling import Settlement, Settler

Json = dict[str, Any]
REFUSED = Counter("llm_budget_refused_total", "Requests that did not fit a budget.", ["budget"])
SPENT = Counter("llm_budget_spent_total", "Tokens, or billionths of money, that were settled.", ["budget", "unit"])
UNCOUNTED = Counter("llm_budget_uncounted_total", "Requests that no budget counts.", ["reason"])
ANSWERS_WITHOUT_USAGE = Counter("llm_budget_answers_without_usage_total", "Answers that cost nothing, without usage.")
CLOCK_SLACK = 3600
"""Seconds for which a budget is kept after its period, since the clocks of nodes differ."""
STORE_TIMEOUT = 5.0
"""Seconds. The engine answers sooner that a Valkey does not: after `spec.store.valkey.timeout`."""
PATIENCE = 60
"""Seconds that a client may wait for. Clients of providers obey retry-after, Anthropic's for weeks, and try again twice
without it: `x-should-retry: false`, which both know, has them raise at once what will not pass soon."""
RETRY_SOON = 1
"""Seconds after which a request may be sent again that only reservations of others have kept out."""


@dataclass(frozen=True, slots=True)
class Prepared:
    budgets: tuple[Budget, ...]
    prices: llm.Prices
    store: AsyncStore
    settler: Settler
    note: str
    """The key of the exchange's metadata for what the response phase needs."""


def prepare(params: Json) -> Prepared:
    budgets = tuple(map(budget_of, params["budgets"]))
    names = [budget.name for budget in budgets]
    if duplicates := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"budgets: expected a name of its own for each, got {', '.join(duplicates)} again")
    store = AsyncStore(timeout=STORE_TIMEOUT, shared=params["acrossApis"], keep=True)
    note = f"llm-budget {' '.join(names)}"
    return Prepared(budgets, llm.Prices(params["prices"]), store, Settler(store), note)


# ------------------------------------------------------------------ before


async def on_request(ctx: RequestContext, params: Json) -> RequestAction:
    prepared: Prepared = ctx.prepared
    request = llm.read_request(ctx.method, ctx.path, ctx.body or b"")
    if request is None:
        return pass_or_refuse("shape", params["unknownShapes"], "the gateway counts only requests to language models")
    if request.is_ambiguous:
        return llm.problem(400, "the body names a member twice, so that the model or a limit in it is not certain")
    tariff = Tariff(request.model, prepared.prices)
    budgets = prepared.budgets
    if not tariff.has_price and any(budget.unit == "money" for budget in budgets):
        budgets = tuple(budget for budget in budgets if budget.unit != "money")
        refusal = pass_or_refuse("price", params["unknownPrice"], f"no price of the model {request.model!r} is known")
        if refusal is not None:
            return refusal
    output = params["defaultMaxOutput"] if request.max_output is None else request.max_output
    most = {budget.name: tariff.most(budget.unit, request.estimated_input(), output) for budget in budgets}
    reservations = await reserve_all(ctx, budgets, most, params["holdSeconds"])
    if isinstance(reservations, ImmediateResponse):
        return reservations
    body = llm.with_stream_usage(request) if params["askForUsage"] else None
    ctx.metadata[prepared.note] = {
        "shape": request.shape,
        "model": request.model,
        "hidesUsage": body is not None,
        "reservations": reservations,
    }
    return None if body is None else UpstreamRequestModifications(body=body)


def pass_or_refuse(reason: str, choice: str, detail: str) -> ImmediateResponse | None:
    UNCOUNTED.inc(reason=reason)
    return llm.problem(403, detail) if choice == "refuse" else None


async def reserve_all(
    ctx: RequestContext, budgets: Iterable[Budget], most: dict[str, int], hold: int
) -> list[Json] | ImmediateResponse:
    """The reservations, for the metadata, or the refusal of the first budget without room. What was reserved before is
    given back then, and if the store fails or the client leaves."""
    prepared: Prepared = ctx.prepared
    now = clock.now()
    name = secrets.token_hex(8)
    reservations: list[Json] = []
    given_back: list[Settlement] = []
    is_complete = False
    try:
        for budget in budgets:
            span = span_of(budget.period, now)
            key = budget.key(ctx, span)
            given_back.append(Settlement(key, name, 0))
            answer = await prepared.store.reserve(
                key, name, most[budget.name], at_most=budget.limit, hold=hold, ttl=span.left + 2 * hold + CLOCK_SLACK
            )
            if not answer.allowed:
                REFUSED.inc(budget=budget.name)
                given_back.pop()
                return refusal(budget, span, most[budget.name], answer)
            remains = max(0, budget.limit - answer.spent - answer.reserved)
            reservations.append(
                {"budget": budget.name, "key": key, "name": name, "remains": remains, "window": span.seconds}
                | {"left": ceil(span.left), "unit": budget.unit, "reserved": most[budget.name]}
            )
        is_complete = True
        return reservations
    finally:
        if not is_complete:
            prepared.settler.begin(given_back)


def refusal(budget: Budget, span: Span, amount: int, answer: Reserved) -> ImmediateResponse:
    """429 for a budget without room, with the time after which the same request may fit."""
    detail = (
        f"the budget {budget.name} has {budget.show(budget.limit)} each {budget.period}, of which "
        f"{budget.show(answer.spent)} are spent and {budget.show(answer.reserved)} reserved; "
        f"this request may need {budget.show(amount)}"
    )
    headers = {"retry-after": str(ceil(span.left))}
    if amount > budget.limit:
        detail += ": limit its output, or shorten its prompt"
        del headers["retry-after"]
    elif answer.spent + amount <= budget.limit:
        detail += ": try again when requests under way have ended"
        headers["retry-after"] = str(RETRY_SOON)
    if not 0 < int(headers.get("retry-after", 0)) <= PATIENCE:
        headers["x-should-retry"] = "false"
    return llm.problem(429, detail, headers=headers, budget=budget.name)


# ------------------------------------------------------------------ after


async def on_response(ctx: ResponseContext, params: Json) -> ResponseAction:
    prepared: Prepared = ctx.prepared
    note = ctx.metadata.get(prepared.note)
    if note is None:
        return None
    if ctx.request.method == "HEAD" or ctx.status_code in (204, 304):  # no on_response_stream follows
        await prepared.settler.settle(settlements(ctx, note, None))
    if not params["headers"]:
        return None
    limits = {budget.name: budget.limit for budget in prepared.budgets}
    held = note["reservations"]
    policies = ", ".join(f'"{item["budget"]}";q={limits[item["budget"]]};w={item["window"]}' for item in held)
    remaining = ", ".join(f'"{item["budget"]}";r={item["remains"]};t={item["left"]}' for item in held)
    return UpstreamResponseModifications(set_headers={"ratelimit-policy": policies, "ratelimit": remaining})


async def on_response_stream(ctx: ResponseStreamContext, chunks: Chunks, params: Json) -> Chunks:
    prepared: Prepared = ctx.prepared
    note = ctx.metadata.get(prepared.note)
    if note is None:
        async for chunk in chunks:
            yield chunk
        return
    reader = llm.AnswerReader(note["shape"], ctx.headers.get("content-type", ""))
    is_settled = False
    try:
        async for piece in llm.read_answer(chunks, reader, hides_usage=note["hidesUsage"]):
            yield piece
        reader.end()
        is_settled = True
        await prepared.settler.settle(settlements(ctx, note, reader))
    finally:
        if not is_settled:  # the client or the provider has left: what came until now was spent
            reader.end()
            prepared.settler.begin(settlements(ctx, note, reader))


def settlements(ctx: ResponseContext, note: Json, reader: llm.AnswerReader | None) -> list[Settlement]:
    """What is settled, which it also notes for recorded exchanges."""
    prepared: Prepared = ctx.prepared
    usage = None if reader is None else reader.usage
    if usage is None:
        ANSWERS_WITHOUT_USAGE.inc()
    tariff = Tariff(note["model"], prepared.prices)
    found: list[Settlement] = []
    for item in note["reservations"]:
        unit = item["unit"]
        amount = tariff.cost(unit, usage)
        SPENT.inc(amount, budget=item["budget"], unit=unit)
        found.append(Settlement(item["key"], item["name"], amount))
    amounts = [{**item, "settled": done.amount} for item, done in zip(note["reservations"], found, strict=True)]
    ctx.metadata[prepared.note] = {**note, "reservations": amounts}
    return found
