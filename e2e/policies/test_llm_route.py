"""Failover between providers of language models: streams whose providers fail at random moments.

FAILOVER_STREAMS: how many streams; 200 by default.

    FAILOVER_STREAMS=1000 pytest e2e/policies/test_llm_route.py
"""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter
from pathlib import Path
from random import Random
from typing import get_args

import aiohttp
import yaml

from e2e.kit.failing_provider import EARLY, FailingProvider, Failure, Moment, events, failing_provider
from e2e.kit.gateway import Gateway, Json, api, attach, eventually, fresh_name, running
from e2e.kit.markdown import blocks, page
from e2e.kit.scraping import scrape

STREAMS = int(os.environ.get("FAILOVER_STREAMS", "200"))
AT_ONCE = 40
TIMEOUT = aiohttp.ClientTimeout(sock_read=60)
MOMENTS: tuple[Moment, ...] = get_args(Moment)
PATH = "/v1/chat/completions"
REQUEST: Json = {"model": "default", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 50, "stream": True}
ASKS = {"stream_options": {"include_usage": True}}
BUDGET = 1_000_000


def draw(random: Random, count: int) -> dict[int, Failure]:
    return {number: Failure(random.choice(MOMENTS), random.getrandbits(32)) for number in range(count)}


def deploy(gateway: Gateway, name: str, first: str, second: str) -> None:
    targets = [
        {"upstream": "main", "model": "m-1", "credential": {"value": "key-of-first"}},
        {"upstream": "second", "model": "m-2", "credential": {"value": "key-of-second"}},
    ]
    budgets = [{"name": "all", "period": "month", "tokens": BUDGET, "per": []}]
    policies = [
        attach("llm-usage", {"client": {"from": "none"}}, timeout="8s"),
        attach("llm-budget", {"budgets": budgets}, timeout="8s"),
        attach("llm-route", {"models": [{"names": ["default"], "targets": targets}]}, timeout="8s"),
    ]
    document = api(name, first, policies)
    document["spec"]["upstream"]["second"] = {"url": second}
    document["spec"]["failover"] = True
    gateway.deploy(document)


class Client:
    def __init__(
        self, session: aiohttp.ClientSession, url: str, first: FailingProvider, second: FailingProvider
    ) -> None:
        self.session, self.url, self.first, self.second = session, url, first, second
        self.turns = asyncio.Semaphore(AT_ONCE)
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[str] = []

    async def stream(self, number: int) -> None:
        headers = {"x-exchange": str(number), "authorization": "Bearer client"}
        whole, got = True, b""
        async with self.turns, self.session.post(self.url, json=REQUEST | ASKS, headers=headers) as answer:
            try:
                async for piece in answer.content.iter_any():
                    got += piece
            except aiohttp.ClientPayloadError:
                whole = False
        outcome = self.judge(number, answer.status, got, whole=whole)
        self.outcomes[outcome or "wrong"] += 1
        if outcome is None:
            moments = [provider.failures[number].moment for provider in (self.first, self.second)]
            self.wrong.append(f"{number} {moments}: {answer.status} whole={whole} {got!r}")

    def judge(self, number: int, status: int, got: bytes, *, whole: bool) -> str | None:
        """What became of the stream; None if that is not what the providers' failures make of it.

        A provider that breaks off behind its first event may do so before that has gone on: while the engine holds it,
        the next is asked; while policies have the answer, the client gets an error.
        """
        first, second = (provider.failures[number].moment for provider in (self.first, self.second))
        asked = (self.first.asked[number], self.second.asked[number])
        if asked[0] != 1 or asked[1] > 1 or (asked[1] == 0 and first in EARLY) or (asked[1] == 1 and first == "never"):
            return None
        winner, moment = (self.second, second) if asked[1] else (self.first, first)
        expected = b"".join(events(winner.name, number))
        if moment == "never":
            return f"answer of {winner.name}" if (status, got, whole) == (200, expected, True) else None
        if status >= 400:
            return "clean error" if whole and (asked[1] or moment == "later") else None
        breaks_off = moment == "later" and status == 200 and not whole and expected.startswith(got)
        return f"{winner.name} broke off" if breaks_off else None


async def converse(gateway: Gateway, name: str) -> tuple[Client, int]:
    """All streams. The tokens that the invoices of the winners have."""
    random = Random(33)  # noqa: S311 - the same failures each time
    async with (
        failing_provider("first", draw(random, STREAMS)) as first,
        failing_provider("second", draw(random, STREAMS)) as second,
        aiohttp.ClientSession(timeout=TIMEOUT, connector=aiohttp.TCPConnector(limit=AT_ONCE)) as session,
    ):
        await asyncio.to_thread(deploy, gateway, name, first.url, second.url)
        client = Client(session, f"{gateway.url}/{name}{PATH}", first, second)
        async with asyncio.TaskGroup() as group:
            for number in range(STREAMS):
                group.create_task(client.stream(number))
        assert (first.keys, second.keys) == ({"Bearer key-of-first"}, {"Bearer key-of-second"})
        assert (first.models, second.models) == ({"m-1"}, {"m-2"})
        both = first.invoice.keys() & second.invoice.keys()
        assert not both, f"two providers have charged for {both}"
        return client, sum(first.invoice.values()) + sum(second.invoice.values())


async def spent(gateway: Gateway, name: str) -> tuple[int, int]:
    """The tokens that the budget has spent and reserved, by the refusal of a request that can never fit."""
    async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
        document = REQUEST | {"max_tokens": 10 * BUDGET}
        async with session.post(f"{gateway.url}/{name}{PATH}", json=document) as answer:
            problem = await answer.text()
    found = re.search(r"of which (\d+) tokens are spent and (\d+) tokens reserved", problem)
    assert found, problem
    return int(found[1]), int(found[2])


def test_the_pages_sample_is_deployed(gateway: Gateway) -> None:
    (text,) = blocks(page("docs/how-to/model-providers.md"), "yaml")
    document = yaml.safe_load(text)
    document["spec"]["upstream"] = {name: {"url": "http://127.0.0.1:9"} for name in document["spec"]["upstream"]}
    for target in document["spec"]["policies"][1]["params"]["models"][0]["targets"]:
        target["credential"]["value"] = "key-of-the-gateway"
    gateway.deploy(document)


def test_streams_whose_providers_fail_at_random_moments(build: Path, tmp_path: Path) -> None:
    name = fresh_name("failover")
    with running(build, tmp_path) as gateway:
        client, invoiced = asyncio.run(converse(gateway, name))
        print(f"{STREAMS} streams: {dict(client.outcomes)}; {invoiced} tokens")
        assert not client.wrong, "\n".join(client.wrong[:10])

        def counted() -> int:
            page = scrape(gateway)
            kinds = ("input", "output")
            return int(sum(page.value(f"gatewright_policy_llm_{kind}_tokens_total", api=name) for kind in kinds))

        eventually("all answers with usage are counted", lambda: counted() == invoiced)
        eventually("the budget is settled", lambda: asyncio.run(spent(gateway, name))[0] == invoiced)
        page = scrape(gateway)
        assert page.value("gatewright_policy_llm_requests_total", api=name) <= STREAMS  # no exchange twice
        answers = {
            attempt: int(page.value("gatewright_policy_llm_route_answers_total", api=name, attempt=attempt))
            for attempt in ("0", "1", "2")
        }
        assert sum(answers.values()) <= STREAMS
        assert all(answers[attempt] for attempt in ("1", "2"))
