"""Whatever is written of Defaults, Namespaces and APIs: nodes have what a start with the same database hands out."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable

import pytest
from gatewright_controller.apis.api_source import ApiSource
from gatewright_controller.apis.controller import Controller
from gatewright_controller.gateway.gateways import Gateways
from gatewright_controller.kinds import Keyring, Kinds, open_kinds
from gatewright_controller.nodes.node import Node
from gatewright_controller.plans import Intent, Plans
from gatewright_controller.resource.definitions import Definitions
from gatewright_controller.store import NoSuchApiError, NoSuchResourceError
from gatewright_controller.translate import EdgeSettings
from gatewright_documents.mistake import Invalid
from gatewright_documents.values import JsonObject

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]
STEPS, TEAMS = 60, ("payments", "shop")
POLICIES = [{"name": name, "version": "v1"} for name in ("count", "guard", "log-message")]


def resource(kind: str, name: str, spec: JsonObject) -> JsonObject:
    return {"apiVersion": "gatewright.dev/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


class Writer:
    """Writes what its dice say. refused, written: how many writes were."""

    def __init__(self, seed: int, orders: JsonObject, controller: Controller, gateways: Gateways, kinds: Kinds) -> None:
        self.dice = random.Random(seed)  # noqa: S311 - no secret
        self._orders, self._controller, self._kinds = orders, controller, kinds
        self._plans = Plans(controller, gateways, kinds)
        self.refused = self.written = 0

    async def step(self) -> None:
        choices = (self._write_api, self._put_defaults, self._put_namespace, self._apply, self._apply, self._delete)
        try:
            await self.dice.choice(choices)()
            self.written += 1
        except (Invalid, NoSuchApiError, NoSuchResourceError):
            self.refused += 1

    def _api(self) -> JsonObject:
        document = copy.deepcopy(self._orders)
        name = self.dice.choice("abcd")
        document["metadata"] = {"name": name, "labels": {"team": self.dice.choice(TEAMS)}}
        document["spec"] |= {"context": f"/{self.dice.choice(TEAMS)}/{name}", "policies": self._some_policies()}
        if self.dice.random() < 0.3:
            document["spec"]["requestTimeout"] = "7s"
        return document

    def _some_policies(self) -> list[JsonObject]:
        found = [dict(policy) for policy in self.dice.sample(POLICIES, self.dice.randint(0, 2))]
        if found and self.dice.random() < 0.4:
            found[0]["timeout"] = "31s"  # two of them are too long for a chain
        return found

    def _defaults(self) -> JsonObject:
        spec: JsonObject = {"policies": {self.dice.choice(["before", "after"]): self._some_policies()}}
        if self.dice.random() < 0.6:
            spec["for"] = {"labels": {"team": self.dice.choice(TEAMS)}}
        if self.dice.random() < 0.4:
            spec |= {"requestTimeout": f"{self.dice.randint(1, 3)}s"}
            spec["enforced"] = self.dice.choice([[], ["requestTimeout"]])
        return resource("Defaults", self.dice.choice("xyz"), spec)

    def _namespace(self) -> JsonObject:
        team = self.dice.choice(TEAMS)
        return resource("Namespace", team, {"labels": {"team": team}, "contexts": [f"/{team}"]})

    async def _write_api(self) -> None:
        document = self._api()
        names = [stored.name for stored in await self._controller.list()]
        write = self._controller.replace if document["metadata"]["name"] in names else self._controller.create
        await write(document)

    async def _put_defaults(self) -> None:
        await self._kinds["Defaults"].put(self._defaults())

    async def _put_namespace(self) -> None:
        await self._kinds["Namespace"].put(self._namespace())

    async def _apply(self) -> None:
        made = self._api(), self._defaults(), self._defaults(), self._namespace()
        documents = {found["kind"]: found for found in self.dice.sample(made, self.dice.randint(1, 2))}.values()
        sources = [ApiSource(f"{number}.json", json.dumps(found).encode()) for number, found in enumerate(documents)]
        await self._plans.apply(sources, Intent("team", prune=self.dice.random() < 0.5, take_over=True))

    async def _delete(self) -> None:
        kind, name = self.dice.choice([("Defaults", "xyz"), ("Namespace", TEAMS), ("Api", "abcd")])
        if kind == "Api":
            await self._controller.delete(self.dice.choice(name))
        else:
            await self._kinds[kind].delete(self.dice.choice(name))


def at_node(controller: Controller, node: Node) -> dict[str, str]:
    """Digests by API."""
    while True:
        update = controller.deployment.next_update(node)
        if not update.bundles and not update.removed_apis:
            return dict(node.sent)


@pytest.mark.parametrize("seed", range(4))
async def test_nodes_have_what_a_start_hands_out(
    seed: int,
    orders: JsonObject,
    definitions: Definitions,
    controller: Controller,
    gateways: Gateways,
    kinds: Kinds,
    connect: Callable[[Controller], Node],
) -> None:
    writer, node = Writer(seed, orders, controller, gateways, kinds), connect(controller)
    for _ in range(STEPS):
        await writer.step()
        started = Controller(controller.store, lambda: definitions, EdgeSettings())
        open_kinds(started, Keyring()).load()
        started.load()
        assert at_node(controller, node) == at_node(started, connect(started))
        assert controller.deployment.states()["rejected"] == 0, "no write leaves an API that cannot run"
    assert writer.written > STEPS / 4
    assert writer.refused > STEPS / 20
