import asyncio
import json
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from sdk import testing
from sdk.policy import Identity, ImmediateResponse, RequestContext
from sdk.store import StoreUnavailableError

policy = testing.load_policy(__file__)
NOON = 1_796_212_800.0  # 2026-12-02T12:00:00Z
PRICES = {"m": {"input": "2.50", "output": "10", "cachedInput": "1.25", "cacheWrite": "3"}}
TOKENS = {"name": "tokens", "tokens": 1000, "period": "day"}
MONEY = {"name": "money", "money": "0.01", "period": "month"}
CHAT = "/v1/chat/completions"
USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}


def chat(**changed: Any) -> bytes:
    content = {"model": "m", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 100}
    return json.dumps({**content, **changed}).encode()


def whole(usage: Any = USAGE) -> bytes:
    return json.dumps({"model": "m", "choices": [{"message": {"content": "Hi"}}], "usage": usage}).encode()


def events(*documents: Any, end: bytes = b"data: [DONE]\n\n") -> bytes:
    return b"".join(b"data: %s\n\n" % json.dumps(document).encode() for document in documents) + end


DELTA = {"choices": [{"delta": {"content": "Hi"}}]}
LAST = {"choices": [], "usage": USAGE}


@dataclass
class Gateway:
    """The policy between a client and a provider, with a store in memory."""

    params: dict[str, Any]
    made: Any
    clock: testing.MovedClock
    store: testing.StoreInMemory
    contexts: list[RequestContext] = field(default_factory=list)

    async def ask(self, body: bytes | None = None, path: str = CHAT, **more: Any) -> Any:
        """The action of the request phase."""
        identity = more.pop("identity", None)
        ctx = testing.request("POST", path, body=chat() if body is None else body, prepared=self.made, **more)
        ctx.identity = identity
        self.contexts.append(ctx)
        return await policy.on_request(ctx, self.params)

    async def answer(self, body: bytes, *, events: bool = False, number: int = -1, **more: Any) -> bytes:
        """What the client gets of the provider's answer to the last request."""
        kind = "text/event-stream; charset=utf-8" if events else "application/json"
        ctx = testing.response(headers={"content-type": kind}, request=self.contexts[number])
        await policy.on_response(ctx, self.params)
        chunks = testing.stream(body, sizes=more.pop("sizes", ()))
        result = await testing.collect_stream(policy.on_response_stream, chunks, ctx=ctx, params=self.params, **more)
        return result.body

    async def standing(self, budget: int = 0, number: int = -1) -> tuple[int, int]:
        """What is spent and reserved of a budget of the last request."""
        chosen = self.made.budgets[budget]
        key = chosen.key(self.contexts[number], policy.span_of(chosen.period, self.clock.now()))
        read = await self.made.store.reserve(key, "read", 0, at_most=chosen.limit, hold=1, ttl=1)
        return read.spent, read.reserved


@contextmanager
def gateway(*budgets: dict[str, Any], now: float = NOON, **params: Any) -> Iterator[Gateway]:
    values = testing.params(policy, budgets=list(budgets) or [TOKENS], prices=PRICES, **params)
    with testing.clock(now) as clock, testing.store() as store, testing.prepared(policy, values) as made:
        yield Gateway(values, made, clock, store)


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


def problem_of(action: Any, status: int = 429) -> dict[str, Any]:
    assert isinstance(action, ImmediateResponse)
    assert action.status_code == status
    problem: dict[str, Any] = json.loads(action.body or b"")
    assert problem["status"] == status
    return problem


def header(action: Any, name: str) -> str | None:
    return dict(action.headers).get(name)


# ------------------------------------------------------------------ reserved, and settled


def test_the_most_is_reserved_and_the_usage_is_spent() -> None:
    async def test(g: Gateway) -> None:
        assert await g.ask() is None
        spent, reserved = await g.standing()
        assert (spent, reserved > 100) == (0, True)
        assert await g.answer(whole(), sizes=[3, 1, 50]) == whole()
        assert await g.standing() == (12, 0)

    with gateway() as g:
        run(test(g))


@pytest.mark.parametrize(
    ("path", "request_body", "answer", "spent"),
    [
        (CHAT, chat(), whole(), 12),
        (CHAT, chat(stream=True, stream_options={"include_usage": True}), events(DELTA, LAST), 12),
        ("/v1/completions", {"model": "m", "prompt": "Hi", "max_tokens": 9}, whole(), 12),
        ("/v1/embeddings", {"model": "m", "input": "Hi"}, {"usage": {"prompt_tokens": 4, "total_tokens": 4}}, 4),
        (
            "/v1/responses",
            {"model": "m", "input": "Hi", "max_output_tokens": 9},
            {"usage": {"input_tokens": 3, "output_tokens": 8, "total_tokens": 11}},
            11,
        ),
        (
            "/v1/messages",
            {"model": "m", "messages": [], "max_tokens": 9},
            {"usage": {"input_tokens": 3, "output_tokens": 8, "cache_read_input_tokens": 20}},
            31,
        ),
        (
            "/v1beta/models/m:generateContent",
            {"contents": [], "generationConfig": {"maxOutputTokens": 9}},
            {"usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 4, "thoughtsTokenCount": 5}},
            12,
        ),
        (CHAT, chat(), {"error": {"message": "overloaded"}}, 0),
        (CHAT, chat(), b"no JSON", 0),
        (CHAT, chat(), b"", 0),
        (CHAT, chat(), whole({"prompt_tokens": "7", "completion_tokens": -1}), 0),
        (CHAT, chat(), whole(None), 0),
    ],
)
def test_every_shape_is_counted_by_its_usage(path: str, request_body: Any, answer: Any, spent: int) -> None:
    request_body, answer = (v if isinstance(v, bytes) else json.dumps(v).encode() for v in (request_body, answer))

    async def test(g: Gateway) -> None:
        assert await g.ask(request_body, path) is None
        assert (await g.standing())[1] > 0
        assert await g.answer(answer, events=answer.startswith(b"data"), sizes=[7]) == answer
        assert await g.standing() == (spent, 0)

    with gateway() as g:
        run(test(g))


def test_money_is_counted_in_billionths_of_its_unit() -> None:
    usage = {"prompt_tokens": 1001, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 501}}

    async def test(g: Gateway) -> None:
        await g.ask()
        # the 30 tokens at most that are estimated of the input, at the price of writing the cache, and 100 of output
        spent, reserved = await g.standing()
        tokens_in = policy.llm.read_request("POST", CHAT, chat()).estimated_input()
        assert (spent, reserved) == (0, tokens_in * 3000 + 100 * 10_000)
        await g.answer(whole(usage))
        assert await g.standing() == (500 * 2500 + 501 * 1250 + 3 * 10_000, 0)

    with gateway(MONEY) as g:
        run(test(g))


def test_a_request_without_a_limit_reserves_the_default() -> None:
    async def test(g: Gateway) -> None:
        await g.ask(chat(max_tokens=None))
        assert 777 < (await g.standing())[1] < 900

    with gateway(defaultMaxOutput=777) as g:
        run(test(g))


# ------------------------------------------------------------------ refused


def test_a_request_that_does_not_fit_is_refused_until_the_period_ends() -> None:
    async def test(g: Gateway) -> None:
        await g.ask()
        await g.answer(whole({"prompt_tokens": 880, "completion_tokens": 0}))
        refused = await g.ask()
        problem = problem_of(refused)
        assert problem["budget"] == "tokens"
        assert (
            "the budget tokens has 1000 tokens each day, of which 880 tokens are spent and 0 tokens reserved"
            in problem["detail"]
        )
        assert header(refused, "retry-after") == str(12 * 3600)
        assert header(refused, "x-should-retry") == "false"
        assert policy.REFUSED.value(budget="tokens") == 1
        assert await g.standing() == (880, 0)
        assert await g.ask(chat(max_tokens=50)) is None, "a smaller one fits"
        g.clock.advance(12 * 3600)
        assert await g.ask() is None

    testing.reset_metrics(policy)
    with gateway() as g:
        run(test(g))


def test_of_two_at_once_that_fit_alone_one_passes() -> None:
    async def test(g: Gateway) -> None:
        body = chat(max_tokens=600)
        actions = await asyncio.gather(g.ask(body), g.ask(body))
        (refused,) = (action for action in actions if action is not None)
        assert "try again when requests under way have ended" in problem_of(refused)["detail"]
        assert header(refused, "retry-after") == "1"
        assert header(refused, "x-should-retry") is None
        await g.answer(whole(), number=actions.index(None))
        assert await g.ask(body) is None

    with gateway() as g:
        run(test(g))


def test_a_request_that_can_never_fit_is_not_told_when_to_come_back() -> None:
    async def test(g: Gateway) -> None:
        for limit in (5000, 2**53, 2**53 * 10**9):
            refused = await g.ask(chat(max_tokens=limit))
            assert header(refused, "retry-after") is None
            assert header(refused, "x-should-retry") == "false"
            assert problem_of(refused)["budget"] == "tokens"

    with gateway() as g:
        run(test(g))


def test_where_one_budget_refuses_the_others_are_given_back() -> None:
    small = {"name": "small", "tokens": 10, "period": "hour", "per": []}

    async def test(g: Gateway) -> None:
        assert problem_of(await g.ask())["budget"] == "small"
        await asyncio.sleep(0)
        assert await g.standing(0) == (0, 0)
        assert await g.standing(1) == (0, 0)

    with gateway(TOKENS, small) as g:
        run(test(g))


def test_all_budgets_are_settled() -> None:
    async def test(g: Gateway) -> None:
        await g.ask()
        await g.answer(whole())
        assert await g.standing(0) == (12, 0)
        assert await g.standing(1) == (7 * 2500 + 5 * 10_000, 0)

    with gateway(TOKENS, MONEY) as g:
        run(test(g))


def test_recorded_exchanges_have_what_was_reserved_and_settled() -> None:
    async def test(g: Gateway) -> None:
        await g.ask()
        reserved = [(await g.standing(number))[1] for number in (0, 1)]
        assert amounts(g) == [("tokens", reserved[0], None), ("money", reserved[1], None)]
        await g.answer(whole())
        assert amounts(g) == [("tokens", reserved[0], 12), ("money", reserved[1], 7 * 2500 + 5 * 10_000)]

    def amounts(g: Gateway) -> list[Any]:
        (note,) = g.contexts[-1].metadata.to_dict().values()
        return [(item["unit"], item["reserved"], item.get("settled")) for item in note["reservations"]]

    with gateway(TOKENS, MONEY) as g:
        run(test(g))


@pytest.mark.parametrize(("choice", "status"), [("refuse", 403), ("allow", None)])
def test_a_model_without_a_price(choice: str, status: int | None) -> None:
    async def test(g: Gateway) -> None:
        action = await g.ask(chat(model="other"))
        if status is not None:
            assert "no price of the model 'other' is known" in problem_of(action, status)["detail"]
            return
        assert action is None
        await g.answer(whole())
        assert await g.standing(0) == (0, 0), "money"
        assert await g.standing(1) == (12, 0), "tokens"

    with gateway(MONEY, TOKENS, unknownPrice=choice) as g:
        run(test(g))


@pytest.mark.parametrize(("choice", "status"), [("refuse", 403), ("pass", None)])
@pytest.mark.parametrize(("path", "body"), [("/v1/models", b""), (CHAT, b"{}"), (CHAT, b"\xff"), (CHAT, b"[" * 5000)])
def test_an_unknown_shape(choice: str, status: int | None, path: str, body: bytes) -> None:
    async def test(g: Gateway) -> None:
        action = await g.ask(body, path)
        if status is not None:
            problem_of(action, status)
            return
        assert action is None
        assert await g.answer(whole()) == whole()
        assert g.store.calls == 0

    with gateway(unknownShapes=choice) as g:
        run(test(g))


def test_a_body_with_a_member_twice_is_refused() -> None:
    async def test(g: Gateway) -> None:
        body = b'{"model":"m","messages":[],"max_tokens":1,"max_tokens":900000}'
        assert "twice" in problem_of(await g.ask(body), 400)["detail"]

    with gateway() as g:
        run(test(g))


# ------------------------------------------------------------------ whose budget it is


@pytest.mark.parametrize(
    ("per", "same", "other"),
    [
        ({"from": "subject"}, Identity("a", scopes=("x",)), Identity("a", issuer="other")),
        ({"from": "consumer"}, Identity("b", consumer="c"), Identity("a", consumer="d")),
        ({"from": "claim", "name": "team"}, Identity("b", claims={"team": "t"}), Identity("a", claims={"team": ["t"]})),
        ({"from": "label", "name": "team"}, Identity("b", labels={"team": "t"}), Identity("a", labels={"team": "u"})),
    ],
)
def test_a_budget_belongs_to_what_per_names(per: dict[str, str], same: Identity, other: Identity) -> None:
    first = Identity("a", consumer="c", claims={"team": "t"}, labels={"team": "t"})

    async def test(g: Gateway) -> None:
        for identity in (first, same, other, None):
            await g.ask(identity=identity, headers={"x-team": "ignored"})
            await g.answer(whole())
        assert [(await g.standing(number=number))[0] for number in range(4)] == [24, 24, 12, 12]

    with gateway({**TOKENS, "per": [per]}) as g:
        run(test(g))


def test_a_header_counts_only_if_it_is_named() -> None:
    async def test(g: Gateway) -> None:
        for team in ("a", "b", "a"):
            await g.ask(headers={"x-team": team})
            await g.answer(whole())
        assert (await g.standing(0))[0] == 24, "by header"
        assert (await g.standing(1))[0] == 36, "without an identity all are one"

    with gateway({**TOKENS, "per": [{"from": "header", "name": "X-Team"}]}, {**TOKENS, "name": "other"}) as g:
        run(test(g))


@pytest.mark.parametrize(
    ("period", "now", "name", "seconds", "left"),
    [
        ("hour", NOON + 1, "2026-12-02T12", 3600, 3599),
        ("day", NOON, "2026-12-02", 86_400, 43_200),
        ("month", NOON, "2026-12", 31 * 86_400, 29 * 86_400 + 43_200),
        ("month", 1_835_481_599.0, "2028-02", 29 * 86_400, 1),
    ],
)
def test_periods_are_those_of_utc(period: str, now: float, name: str, seconds: int, left: int) -> None:
    assert policy.span_of(period, now) == policy.Span(name, seconds, left)


def test_what_begins_in_one_period_is_spent_there() -> None:
    async def test(g: Gateway) -> None:
        await g.ask()
        g.clock.advance(2)
        await g.answer(whole())
        assert await g.standing() == (0, 0)
        g.clock.advance(-2)
        assert await g.standing() == (12, 0)

    with gateway(now=NOON + 43_199) as g:
        run(test(g))


# ------------------------------------------------------------------ streams


def test_a_stream_asks_for_usage_and_the_client_does_not_see_it() -> None:
    async def test(g: Gateway) -> None:
        action = await g.ask(chat(stream=True))
        assert json.loads(action.body)["stream_options"] == {"include_usage": True}
        got = await g.answer(events(DELTA, {**DELTA, "usage": None}, LAST), events=True, sizes=[5, 11])
        assert got == events(DELTA, {**DELTA, "usage": None})
        assert await g.standing() == (12, 0)

    with gateway() as g:
        run(test(g))


def test_an_event_goes_on_before_the_next_one_comes() -> None:
    async def test(g: Gateway) -> None:
        await g.ask(chat(stream=True))
        waiting: asyncio.Queue[bytes] = asyncio.Queue()

        async def provider() -> Any:
            while chunk := await waiting.get():
                yield chunk

        response = testing.response(headers={"content-type": "text/event-stream"}, request=g.contexts[-1])
        stream = policy.on_response_stream(response, provider(), g.params)
        for _ in range(3):
            waiting.put_nowait(events(DELTA, end=b""))
            assert await anext(stream) == events(DELTA, end=b"")
        waiting.put_nowait(b"")
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        assert await g.standing() == (0, 0)

    with gateway() as g:
        run(test(g))


@pytest.mark.parametrize(("stop_after", "spent"), [(1, 0), (2, 12)])
def test_where_the_client_leaves_what_came_until_then_is_spent(stop_after: int, spent: int) -> None:
    async def test(g: Gateway) -> None:
        await g.ask(chat(stream=True, stream_options={"include_usage": True}))
        first, last = events(DELTA, end=b""), events(LAST, end=b"")
        await g.answer(first + last, events=True, sizes=[len(first), len(last)], stop_after=stop_after)
        await asyncio.sleep(0)
        assert await g.standing() == (spent, 0)

    with gateway() as g:
        run(test(g))


def test_where_the_provider_leaves_what_came_until_then_is_spent() -> None:
    async def test(g: Gateway) -> None:
        await g.ask(b'{"model":"m","messages":[],"max_tokens":9,"stream":true}', "/v1/messages")

        async def provider() -> Any:
            yield events(
                {"type": "message_start", "message": {"usage": {"input_tokens": 3, "output_tokens": 1}}}, end=b""
            )
            raise ConnectionResetError

        response = testing.response(headers={"content-type": "text/event-stream"}, request=g.contexts[-1])
        with pytest.raises(ConnectionResetError):
            async for _ in policy.on_response_stream(response, provider(), g.params):
                pass
        await asyncio.sleep(0)
        assert await g.standing() == (4, 0)

    with gateway() as g:
        run(test(g))


def test_an_answer_without_a_body_gives_back() -> None:
    async def test(g: Gateway) -> None:
        await g.ask()
        await policy.on_response(testing.response(204, request=g.contexts[-1]), g.params)
        assert await g.standing() == (0, 0)

    with gateway() as g:
        run(test(g))


def test_headers_show_what_remains() -> None:
    async def test(g: Gateway) -> None:
        await g.ask(chat(max_tokens=0))
        action = await policy.on_response(testing.response(request=g.contexts[-1]), g.params)
        remains = 1000 - (await g.standing())[1]
        assert action.set_headers == {
            "ratelimit-policy": '"tokens";q=1000;w=86400', "ratelimit": f'"tokens";r={remains};t=43200',
        }  # fmt: skip

    with gateway(headers=True) as g:
        run(test(g))


# ------------------------------------------------------------------ while the store is away


def test_while_the_store_is_away_requests_fail_as_it_does() -> None:
    async def test(g: Gateway) -> None:
        g.store.away = True
        with pytest.raises(StoreUnavailableError):
            await g.ask()

    with gateway() as g:
        run(test(g))


def test_an_answer_goes_on_while_the_store_is_away_and_is_spent_later() -> None:
    async def test(g: Gateway) -> None:
        await g.ask()
        g.store.away = True
        assert await g.answer(whole()) == whole()
        assert testing.metric(policy, "llm_budget_settlements_repeated_total").value() >= 1
        g.store.away = False
        await asyncio.wait(g.made.settler.tasks)
        assert await g.standing() == (12, 0)

    testing.reset_metrics(policy)
    with gateway() as g:
        run(test(g))


def test_a_reservation_whose_exchange_is_lost_counts_for_its_hold() -> None:
    async def test(g: Gateway) -> None:
        await g.ask(chat(max_tokens=800))
        g.clock.advance(59)
        problem_of(await g.ask(chat(max_tokens=800)))
        g.clock.advance(60 / 8 + 1)
        assert await g.ask(chat(max_tokens=800)) is None
        await g.answer(whole({"prompt_tokens": 900}), number=0)
        assert (await g.standing())[0] == 900, "late, and spent all the same"

    with gateway(holdSeconds=60) as g:
        run(test(g))


class HangingStore:
    """A store whose second call never returns."""

    def __init__(self, store: Any) -> None:
        self.store, self.calls, self.hangs = store, 0, asyncio.Event()

    async def reserve(self, *arguments: Any, **more: Any) -> Any:
        self.calls += 1
        if self.calls == 2:
            self.hangs.set()
            await asyncio.Event().wait()
        return await self.store.reserve(*arguments, **more)


def test_a_client_that_leaves_while_budgets_are_reserved_gives_back() -> None:
    async def test(g: Gateway) -> None:
        store = HangingStore(g.made.store)
        ctx = testing.request("POST", CHAT, body=chat(), prepared=replace(g.made, store=store))
        asking = asyncio.create_task(policy.on_request(ctx, g.params))
        await store.hangs.wait()
        g.contexts.append(ctx)
        assert (await g.standing())[1] > 0
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await asyncio.sleep(0)
        assert await g.standing() == (0, 0)

    with gateway(TOKENS, MONEY) as g:
        run(test(g))


def test_two_budgets_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="a name of its own for each, got tokens again"), gateway(TOKENS, TOKENS):
        pass


def test_a_budget_in_money_without_prices_is_refused() -> None:
    """It would refuse each request, or count none."""
    expected = "params.prices: expected the price of at least one model, since a budget is in money, got an object; "
    none: tuple[dict[str, Any], ...] = ({}, {"prices": {}})
    for prices in none:
        with pytest.raises(ValueError, match=f"^{expected}.*limit tokens in place of money$"):
            testing.params(policy, budgets=[TOKENS, MONEY], **prices)
        testing.params(policy, budgets=[TOKENS], **prices)


def test_a_star_before_the_end_of_a_priced_name_is_refused() -> None:
    """It would stand for itself, so no model would have the price."""
    with pytest.raises(ValueError, match=r'params\.prices\["gpt-\*-mini"\]: expected .* at its end alone, got .*gpt-'):
        testing.params(policy, budgets=[MONEY], prices={"gpt-*": PRICES["m"], "gpt-*-mini": PRICES["m"]})
