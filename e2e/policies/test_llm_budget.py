"""Budgets of language models: random exchanges, after which the provider's invoice is what the budgets have counted.

LLM_EXCHANGES: how many exchanges; 320 by default.

    LLM_EXCHANGES=10000 pytest e2e/policies/test_llm_budget.py
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from math import ceil
from pathlib import Path
from random import Random

import aiohttp
import pytest
from gatewright import llm

from e2e.kit.closed_port import closed_port
from e2e.kit.counterparts.valkey import Server, server
from e2e.kit.gateway import Gateway, Json, api, attach, eventually, fresh_name, running
from e2e.kit.listening import write
from e2e.kit.model_answers import Plan, Usage, draw, request_of
from e2e.kit.model_provider import Planned, Provider, provider

EXCHANGES = int(os.environ.get("LLM_EXCHANGES", "320"))
PER_KEY, PARTS = 40, 4
KEYS_AT_ONCE = 8
TEAMS = 3
TIMEOUT = aiohttp.ClientTimeout(total=60)
PRICES = {"input": "2.50", "output": "10.0123456", "cachedInput": "1.25"}
BILLION = 10**9
BY_KEY, BY_TEAM = ([{"from": "header", "name": name}] for name in ("x-key", "x-team"))
BUDGETS: dict[str, Json] = {
    "key-tokens": {"tokens": 1500, "period": "month", "per": BY_KEY},
    "key-money": {"money": "0.01", "period": "month", "per": BY_KEY},
    "team-money": {"money": "90000", "period": "month", "per": BY_TEAM},
}


def price_of(usage: Usage) -> Fraction:
    """Billionths, by arithmetic of its own."""
    price = {name: Fraction(text) for name, text in PRICES.items()}
    cost = (usage.input - usage.cached) * price["input"] + usage.output * price["output"]
    return (cost + usage.cached * price["cachedInput"]) * BILLION / 10**6


def cost_of(usage: Usage) -> int:
    return round(price_of(usage))


def tokens_of(usage: Usage) -> int:
    return usage.input + usage.output


def amount(text: str) -> int:
    """12 tokens, or 0.5 of money in billionths."""
    return int(text.removesuffix(" tokens")) if text.endswith("tokens") else int(Decimal(text) * BILLION)


LIMITS = {"key-tokens": 1500, "key-money": amount("0.01")}
COSTS: dict[str, Callable[[Usage], int]] = {"key-tokens": tokens_of, "key-money": cost_of}


class UnexpectedAnswerError(Exception):
    """An answer is none of the policy's."""


@dataclass
class Client:
    """Clients of an API with all budgets, over one node or several, and of one API for each budget that reads it."""

    session: aiohttp.ClientSession
    provider: Provider
    urls: list[str]
    name: str
    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def headers(self, plan: Plan) -> dict[str, str]:
        team = f"{self.name}-{int(plan.key.rpartition('-')[2]) % TEAMS}"
        return {"x-key": plan.key, "x-team": team, "x-exchange": str(plan.number), "content-type": "application/json"}

    async def exchange(self, plan: Plan) -> None:
        """Sends the request until it is no longer kept out by one under way, and holds the decision to the invoice."""
        path, document = request_of(plan)
        body = json.dumps(document).encode()
        fits = self.fits(plan, *self.need(plan))
        for _ in range(1000):
            planned = self.provider.expect(plan)
            status, text, retry_after = await self.send(plan, planned, path, body)
            if (status, retry_after) != (429, "1"):
                break
            self.outcomes["kept out by one under way"] += 1
            await asyncio.sleep(0.02)
        self.outcomes[f"{plan.leaves} left" if plan.leaves and status == 200 else str(status)] += 1
        right = (529 if plan.reports == "error" else 200) if fits else 429
        if status != right or planned.answered != fits:
            self.wrong.append(f"{plan}: expected {right}, got {status} {text[:300]}")

    async def offer(self, plan: Plan) -> tuple[int, str | None]:
        """Sends the request once. The status, and retry-after."""
        path, document = request_of(plan)
        planned = self.provider.expect(plan)
        status, _, retry_after = await self.send(plan, planned, path, json.dumps(document).encode())
        return status, retry_after

    def need(self, plan: Plan) -> tuple[int, int]:
        """The tokens that the request reserves, of input and of output."""
        path, document = request_of(plan)
        request = llm.read_request("POST", path, json.dumps(document).encode())
        assert request is not None
        return request.estimated_input(), request.max_output or 0

    def fits(self, plan: Plan, tokens_in: int, tokens_out: int) -> bool:
        invoice = self.provider.invoice[plan.key]
        need = {"key-tokens": tokens_in + tokens_out, "key-money": ceil(price_of(Usage(tokens_in, tokens_out)))}
        return all(sum(map(COSTS[name], invoice)) + need[name] <= LIMITS[name] for name in LIMITS)

    async def send(self, plan: Plan, planned: Planned, path: str, body: bytes) -> tuple[int, str, str | None]:
        try:
            return await self.receive(plan, planned, path, body)
        finally:
            planned.seen.set()

    async def receive(self, plan: Plan, planned: Planned, path: str, body: bytes) -> tuple[int, str, str | None]:
        url = Random(plan.seed).choice(self.urls)  # noqa: S311 — no secret
        async with self.session.post(f"{url}/{self.name}{path}", headers=self.headers(plan), data=body) as answer:
            got = b""
            try:
                while chunk := await answer.content.readany():
                    got += chunk
                    if planned.sent.is_set() and 0 <= planned.visible <= len(got):
                        if plan.leaves == "client":
                            answer.close()
                            break
                        planned.seen.set()
            except aiohttp.ClientPayloadError:
                if plan.leaves != "provider":
                    self.wrong.append(f"{plan}: the answer was cut off after {len(got)} bytes")
            return answer.status, got.decode(errors="replace"), answer.headers.get("retry-after")

    async def keep_books(self, key: str, count: int, random: Random, first: int) -> None:
        for number in range(count):
            await self.exchange(draw(random, first + number, key))

    async def standing(self, budget: str, key: str, url: str) -> tuple[int, int]:
        """What is spent and reserved, by the refusal of a request that can never fit."""
        plan = Plan(0, key, "chat", False, False, Usage(), "normal", 10**15)
        path, document = request_of(plan)
        reader = f"{url}/{self.name}-{budget}{path}"
        async with self.session.post(reader, headers=self.headers(plan), json=document) as answer:
            problem = await answer.text()
        found = re.search(r"of which (\S+(?: tokens)?) are spent and (\S+(?: tokens)?) reserved", problem)
        if found is None:
            raise UnexpectedAnswerError(problem)
        return amount(found[1]), amount(found[2])

    async def differences(self, keys: list[str]) -> list[str]:
        """Where what is counted is not what the provider has invoiced."""
        found = []
        for key in keys:
            for budget, cost in COSTS.items():
                counted = await self.standing(budget, key, self.urls[0])
                invoiced = sum(map(cost, self.provider.invoice[key]))
                if counted != (invoiced, 0):
                    found.append(f"{key} {budget}: counted and reserved {counted}, invoiced {invoiced}")
        return found


def attachment(names: list[str], **more: object) -> Json:
    budgets = [{"name": name, **BUDGETS[name]} for name in names]
    return attach(
        "llm-budget", {"budgets": budgets, "acrossApis": True, "prices": {"m": PRICES}, **more}, timeout="10s"
    )


def deploy(nodes: list[Gateway], name: str, url: str, **more: object) -> None:
    for node in nodes:
        node.deploy(api(name, url, [attachment(list(BUDGETS), **more)]))
        for budget in BUDGETS:
            node.deploy(api(f"{name}-{budget}", url, [attachment([budget])]))


@dataclass
class Site:
    nodes: list[Gateway]
    valkey: Server | None = None

    def disturb(self, number: int) -> None:
        """Between exchanges: an executor, the engine and the Valkey are killed, each in its turn."""
        if self.valkey is None:
            return
        node = self.nodes[0]
        match number:
            case 1:
                killed = node.kill(node.executors()[0]["name"])
                eventually("another executor is there", lambda: killed not in {e["pid"] for e in node.executors()}, 60)
            case 2:
                killed = node.kill("engine")
                eventually("another engine is there", lambda: node.pid("engine") not in (killed, None), 60)
            case 3:
                with self.valkey.away():
                    pass


@pytest.fixture(scope="module", params=["memory", "valkey"])
def site(request: pytest.FixtureRequest, build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp(request.param)
    with ExitStack() as stack:
        if request.param == "memory":
            gateway = running(build, folder / "state", "--executors", "2")
            yield Site([stack.enter_context(gateway)])
            return
        valkey = stack.enter_context(server(folder, keeps=True))
        file = write(
            folder / "gateway.yaml", {"name": "http"}, store={"valkey": {"address": valkey.address, "timeout": "5s"}}
        )
        nodes = [running(build, folder / f"state-{n}", "--gateway", str(file)) for n in range(2)]
        yield Site([stack.enter_context(node) for node in nodes], valkey)


async def converse(site: Site) -> Client:
    """Random exchanges of many keys, some at once; those of one key come one after the other."""
    name = fresh_name("models")
    random = Random(33)  # noqa: S311 — no secret
    async with provider() as upstream, aiohttp.ClientSession(timeout=TIMEOUT) as session:
        await asyncio.to_thread(deploy, site.nodes, name, upstream.url)
        client = Client(session, upstream, [node.url for node in site.nodes], name)
        keys = [f"{name}-{number}" for number in range(-(-EXCHANGES // PER_KEY))]
        for begin in range(0, len(keys), KEYS_AT_ONCE):
            batch = keys[begin : begin + KEYS_AT_ONCE]
            for part in range(PARTS):
                await asyncio.to_thread(site.disturb, part)
                await until_served(client, batch[0])
                async with asyncio.TaskGroup() as group:
                    for number, key in enumerate(batch, begin):
                        first = 1 + (PARTS * number + part) * PER_KEY
                        books = client.keep_books(key, PER_KEY // PARTS, Random(random.getrandbits(32)), first)  # noqa: S311 — no secret
                        group.create_task(books)
                await until_settled(client, batch)
        await until_settled(client, keys)
        return client


async def until_served(client: Client, key: str) -> None:
    """Waits until each node serves, by reading a budget."""
    for url in client.urls:
        for _ in range(600):
            with contextlib.suppress(aiohttp.ClientError, UnexpectedAnswerError):
                await client.standing("key-tokens", key, url)
                break
            await asyncio.sleep(0.1)
        else:
            raise AssertionError(f"{url} does not serve")


async def until_settled(client: Client, keys: list[str]) -> None:
    differences: list[str] = ["never read"]
    for _ in range(100):
        if not (differences := await client.differences(keys)):
            return
        await asyncio.sleep(0.1)
    raise AssertionError("\n".join(differences))


@pytest.mark.slow("hundreds of exchanges, with processes that are killed in between")
def test_the_invoice_is_what_the_budgets_have_counted(site: Site) -> None:
    client = asyncio.run(converse(site))
    assert not client.wrong, "\n".join(client.wrong)
    outcomes = client.outcomes
    print(f"{sum(outcomes.values())} requests: {dict(outcomes)}")
    assert all(outcomes[kind] for kind in ("200", "429", "529", "client left", "provider left")), outcomes


def test_many_at_once_never_pass_a_budget_together_and_leave_no_room_unused(site: Site) -> None:
    """60 clients of one key, at all nodes: as many are let through at once as fit, and in the end as many as can."""

    async def ask() -> None:
        name = fresh_name("rush")
        async with provider() as upstream, aiohttp.ClientSession(timeout=TIMEOUT) as session:
            await asyncio.to_thread(deploy, site.nodes, name, upstream.url)
            client, key = Client(session, upstream, [node.url for node in site.nodes], name), f"{name}-1"
            plans = [Plan(n, key, "chat", True, False, Usage(5, 40), "normal", 60, seed=n) for n in range(1, 61)]
            waiting = plans
            while waiting:
                statuses = await asyncio.gather(*(client.offer(plan) for plan in waiting))
                assert sum(map(tokens_of, upstream.invoice[key])) <= LIMITS["key-tokens"]
                assert sum(map(cost_of, upstream.invoice[key])) <= LIMITS["key-money"]
                waiting = [plan for plan, status in zip(waiting, statuses, strict=True) if status == (429, "1")]
            await until_settled(client, [key])
            assert not client.fits(plans[0], *client.need(plans[0]))
            assert client.wrong == []

    asyncio.run(ask())


def test_a_reservation_whose_client_left_before_the_answer_ends_with_its_hold(site: Site) -> None:
    async def ask() -> None:
        name = fresh_name("left")
        async with provider() as upstream, aiohttp.ClientSession(timeout=TIMEOUT) as session:
            await asyncio.to_thread(deploy, site.nodes, name, upstream.url, holdSeconds=2)
            client, key = Client(session, upstream, [node.url for node in site.nodes], name), f"{name}-1"
            silent = Plan(1, key, "chat", False, False, Usage(5, 40), "silent", 900)
            asking = asyncio.create_task(client.offer(silent))
            await asyncio.sleep(0)  # it has begun
            await asyncio.wait_for(upstream.planned[silent.number].sent.wait(), 30)
            asking.cancel()
            await asyncio.wait([asking])
            again = Plan(2, key, "chat", False, False, Usage(5, 40), "normal", 900)
            assert await client.offer(again) == (429, "1")
            assert (await client.standing("key-tokens", key, client.urls[0]))[1] > 900
            while (status := await client.offer(again)) != (200, None):
                assert status == (429, "1")
                await asyncio.sleep(0.1)
            await until_settled(client, [key])

    asyncio.run(ask())


def test_what_no_upstream_answers_costs_nothing(site: Site) -> None:
    async def ask() -> None:
        name = fresh_name("down")
        async with provider() as upstream, aiohttp.ClientSession(timeout=TIMEOUT) as session:
            with closed_port() as port:
                await asyncio.to_thread(deploy, site.nodes, name, f"http://127.0.0.1:{port}")
                client, key = Client(session, upstream, [node.url for node in site.nodes], name), f"{name}-1"
                statuses = [await client.offer(Plan(n, key, "chat", False, False, Usage(), "", 900)) for n in (1, 2)]
            assert [status for status, _ in statuses] == [503, 503]
            await until_settled(client, [key])

    asyncio.run(ask())
