"""A chain as people have it, under load, while keys change, the Valkey is restarted and code is reloaded.

No answer may be wrong.

USUAL_CHAIN: seconds and requests a second; 10x60 by default.

    USUAL_CHAIN=60x300 pytest e2e/policies/test_usual_chain.py
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
import yaml

from e2e.kit.counterparts.oidc_provider import Provider, provider
from e2e.kit.counterparts.valkey import Server, server
from e2e.kit.gateway import Gateway, api, attach, eventually, running
from e2e.kit.listening import write
from e2e.kit.places import ROOT
from e2e.kit.upstream import Reply, Upstream

SECONDS, RATE = (int(part) for part in os.environ.get("USUAL_CHAIN", "10x60").split("x"))
POLICIES = ROOT / "policies"
GO, PYTHON = ("cors", "rate-limit", "set-headers"), ("jwt-auth", "validate-request")
ORIGIN = "https://app.example"
LIMIT = 10  # requests a second of a tenant, and at once after a pause
TENANTS = 60  # the tenants that share the requests that must pass: each stays far below the limit
ORDER = {
    "type": "object",
    "required": ["item", "count"],
    "properties": {"item": {"type": "string"}, "count": {"type": "integer", "minimum": 1}},
}


@dataclass(frozen=True)
class Kind:
    """A request of a client, and the statuses that are right for it."""

    name: str
    right: frozenset[int]
    method: str = "POST"
    bears: str = "good"  # which token
    body: bytes = b'{"item": "bolt", "count": 2}'
    tenant: str = ""


GREEDY = Kind("greedy", frozenset({200, 429}), tenant="greedy")
PASSES = Kind("passes", frozenset({200}))
KINDS = (
    PASSES,
    Kind("preflight", frozenset({204}), method="OPTIONS", bears=""),
    PASSES,
    Kind("nobody", frozenset({401}), bears=""),
    PASSES,
    Kind("forged", frozenset({401}), bears="forged"),
    PASSES,
    Kind("invalid", frozenset({400}), body=b'{"item": "bolt", "count": 0}'),
)


@dataclass
class Load:
    """Clients, and what was wrong of the answers they got."""

    url: str
    token: str
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def headers(self, kind: Kind, tenant: str) -> dict[str, str]:
        headers = {"origin": ORIGIN, "x-tenant": kind.tenant or tenant, "content-type": "application/json"}
        if kind.method == "OPTIONS":
            return headers | {"access-control-request-method": "POST"}
        tokens = {"good": self.token, "forged": f"{self.token.rpartition('.')[0]}.{'A' * 342}"}
        return headers | ({"authorization": f"Bearer {tokens[kind.bears]}"} if kind.bears else {})

    async def ask(self, client: aiohttp.ClientSession, kind: Kind, tenant: str) -> None:
        try:
            headers = self.headers(kind, tenant)
            async with client.request(kind.method, self.url, headers=headers, data=kind.body) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            self.wrong.append(f"{kind.name}: {error!r}")
            return
        self.answers[kind.name, answer.status] += 1
        if answer.status not in kind.right or answer.headers.get("access-control-allow-origin") != ORIGIN:
            self.wrong.append(f"{kind.name}: {answer.status} {dict(answer.headers)} {text}")
        if answer.status == 200 and answer.headers.get("x-seen") != "reporting":
            self.wrong.append(f"{kind.name}: upstream was told of {answer.headers.get('x-seen')!r}")

    async def offer(self, client: aiohttp.ClientSession, kinds: Iterator[Kind], rate: float) -> None:
        """Sends until it is cancelled. Late requests are caught up, so that the machine's pace changes nothing."""
        async with asyncio.TaskGroup() as group:
            begin = time.monotonic()
            for number in itertools.count():
                group.create_task(self.ask(client, next(kinds), f"tenant-{number % TENANTS}"))
                await asyncio.sleep(begin + (number + 1) / rate - time.monotonic())


@asynccontextmanager
async def offer_load(load: Load) -> AsyncIterator[None]:
    """Within it requests of all kinds are made. Its end waits for answers to none, for they are cut off."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as client:
        tasks = [
            asyncio.create_task(load.offer(client, itertools.cycle(KINDS), RATE - 3 * LIMIT)),
            asyncio.create_task(load.offer(client, itertools.repeat(GREEDY), 3 * LIMIT)),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@dataclass
class Site:
    gateway: Gateway
    issuing: Provider
    valkey: Server
    folder: Path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("usual")
    for name in PYTHON:
        shutil.copytree(POLICIES / name, folder / name)
    entries = [{"name": name, "filePath": str(POLICIES / name)} for name in GO]
    entries += [{"name": name, "filePath": name} for name in PYTHON]
    (manifest := folder / "build.yaml").write_text(yaml.safe_dump({"version": "v1", "policies": entries}))
    output = ROOT / "build" / "usual"
    with provider(tmp_path_factory.mktemp("provider")) as issuing, server(folder) as valkey:
        file = write(folder / "gateway.yaml", {"name": "http"}, store={"valkey": {"address": valkey.address}})
        options = ("--manifest", str(manifest), "--output", str(output), "--gateway", str(file))
        with running(None, folder / "state", *options) as gateway:
            yield Site(gateway, issuing, valkey, folder)


def deploy_chain(site: Site, upstream: Upstream) -> str:
    """The URL of the chain."""
    issuer = {"issuer": site.issuing.issuer, "audiences": ["orders"]}
    limit = {"limits": [{"requests": LIMIT, "per": "1s"}], "key": [{"from": "header", "name": "x-tenant"}]}
    chain = [
        attach("cors", {"allowOrigins": [ORIGIN]}),
        attach("jwt-auth", {"issuers": [issuer]}, timeout="5s"),
        attach("rate-limit", {**limit, "scope": "global"}),
        attach("validate-request", {"schema": ORDER}, timeout="5s"),
        attach("set-headers", {"request": {"set": [{"name": "x-user", "value": "${identity.subject}"}]}}),
    ]
    upstream.reply = lambda request: Reply(200, [("x-seen", request.value("x-user") or "")], b"{}")
    site.gateway.deploy(api("usual", upstream.url, chain, [{"method": "POST", "path": "/orders"}]))
    return f"{site.gateway.url}/usual/orders"


async def change_key(site: Site, load: Load) -> None:
    """A new key signs. The first client with a token of it may have to retry: it gets a 503 with Retry-After."""
    await asyncio.to_thread(site.issuing.rotate)
    probe = Load(load.url, await asyncio.to_thread(site.issuing.token))
    kind = Kind("probe", frozenset({200, 503}))
    async with aiohttp.ClientSession() as client:
        while not probe.answers["probe", 200]:
            await probe.ask(client, kind, "probe")
            await asyncio.sleep(0.2)
    assert probe.wrong == []
    load.token = probe.token


async def restart_valkey(site: Site, _: Load) -> None:
    await asyncio.to_thread(site.valkey.kill)
    await asyncio.sleep(1)
    await asyncio.to_thread(site.valkey.start)


async def reload(site: Site, _: Load) -> None:
    before = site.gateway.executors()
    for name in PYTHON:
        with (site.folder / name / "policy.py").open("a") as source:
            source.write(f"# changed at {time.monotonic()}\n")
    result = await asyncio.to_thread(site.gateway.reload)
    assert result.returncode == 0, result.stderr
    await asyncio.to_thread(eventually, "others serve", lambda: site.gateway.executors() != before, 60)


async def under_load(site: Site, load: Load) -> float:
    begin = time.monotonic()
    async with offer_load(load):
        for number, change in enumerate((change_key, restart_valkey, reload), 1):
            await asyncio.sleep(begin + number * SECONDS / 4 - time.monotonic())
            await change(site, load)
        await asyncio.sleep(begin + SECONDS - time.monotonic())
    return time.monotonic() - begin


def test_no_answer_is_wrong_whatever_changes(site: Site, upstream: Upstream) -> None:
    load = Load(deploy_chain(site, upstream), site.issuing.token())
    took = asyncio.run(under_load(site, load))
    assert load.wrong == [], f"{len(load.wrong)} of {load.answers.total()}: {load.wrong[:5]}"
    assert {name for name, _ in load.answers} == {kind.name for kind in (GREEDY, *KINDS)}
    passed, refused = load.answers["greedy", 200], load.answers["greedy", 429]
    assert refused
    bursts = 2  # at the beginning, and where the Valkey has come back with nothing
    assert passed <= LIMIT * (took + bursts) * 1.05, (passed, took)
    assert passed >= 0.9 * min(LIMIT * took, passed + refused), (passed, took)
    print(f"{load.answers.total()} answers in {took:.1f} s: {dict(load.answers)}")
