"""Any sequence of edits, applies, prunes, renames and rollbacks, against a model of a few lines."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from gatewright_controller.apis.api_source import ApiSource
from gatewright_controller.apis.controller import Controller
from gatewright_controller.gateway.gateways import Gateways
from gatewright_controller.kinds import Keyring, open_kinds
from gatewright_controller.plans import ForeignError, Intent, MovedError, Plans, Reviewed, ShownPlan
from gatewright_controller.resource.definitions import load_definitions
from gatewright_controller.store import open_store
from gatewright_controller.translate import EdgeSettings
from gatewright_documents.mistake import Invalid
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

DEFINITIONS = Path(__file__).parents[1] / "testdata" / "definitions"
NAMES, CONTEXTS = st.sampled_from("abcd"), st.sampled_from(["/x", "/y", "/z", "/w"])
OWNERS = st.sampled_from(["", "team-a", "team-b"])
CONTENTS = st.tuples(CONTEXTS, st.sampled_from([(), ("a.example",)]), st.integers(0, 2))
INTENTS = st.builds(Intent, OWNERS, st.booleans(), st.booleans())
Content = tuple[str, tuple[str, ...], int]
"""Context, hosts, and which of a few texts."""


def document(name: str, content: Content) -> dict[str, Any]:
    context, hosts, text = content
    spec = {
        "version": "v1",
        "context": context,
        "hosts": list(hosts),
        "displayName": f"text {text}",
        "upstream": {"main": {"url": "http://orders"}},
        "operations": [{"method": "GET", "path": "/"}],
    }
    return {"apiVersion": "gatewright.dev/v1", "kind": "Api", "metadata": {"name": name}, "spec": spec}


def sources(folder: dict[str, Content]) -> list[ApiSource]:
    return [ApiSource(f"{name}.json", json.dumps(document(name, content)).encode()) for name, content in folder.items()]


def clashes(world: dict[str, tuple[Content, str]]) -> bool:
    """Whether two have one context on one host."""
    claimed = [(context, host) for (context, hosts, _), _ in world.values() for host in hosts or ("*",)]
    return len(set(claimed)) < len(claimed)


class Sequences(RuleBasedStateMachine):
    """world: what is to be stored, content and owner by name. folder: the files that are edited and applied. past: of
    each name the revisions of its writes, with what it was then; None where it was gone.
    """

    @initialize()
    def open(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.store = open_store("sqlite::memory:")
        self.loop.run_until_complete(self._start())
        self.world: dict[str, tuple[Content, str]] = {}
        self.folder: dict[str, Content] = {}
        self.kept: tuple[list[ApiSource], Intent, ShownPlan, dict[str, tuple[Content, str]]] | None = None
        self.past: dict[str, list[tuple[int, tuple[Content, str] | None]]] = {}

    async def _start(self) -> None:
        definitions = load_definitions(DEFINITIONS, {"guard": {"issuer": "https://id.example"}})
        self.controller = Controller(self.store, lambda: definitions, EdgeSettings())
        self.plans = Plans(
            self.controller,
            Gateways(self.store, self.controller.deployment, None),
            open_kinds(self.controller, Keyring()),
        )

    def teardown(self) -> None:
        self.store.close()
        self.loop.close()

    @rule(name=NAMES, content=CONTENTS)
    def edit(self, name: str, content: Content) -> None:
        self.folder[name] = content

    @precondition(lambda self: self.folder)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        del self.folder[data.draw(st.sampled_from(sorted(self.folder)))]

    @precondition(lambda self: self.folder)
    @rule(data=st.data(), name=NAMES)
    def rename(self, data: st.DataObject, name: str) -> None:
        old = data.draw(st.sampled_from(sorted(self.folder)))
        self.folder[name] = self.folder.pop(old)

    @rule(intent=INTENTS)
    def plan(self, intent: Intent) -> None:
        """A plan is kept, for a later apply."""
        made = sources(self.folder)
        if self.expected(intent) is not None:
            shown = self.loop.run_until_complete(self.plans.plan(made, intent))
            self.kept = (made, intent, shown, dict(self.world))

    @precondition(lambda self: self.kept)
    @rule()
    def apply_kept(self) -> None:
        """Exactly what it said, or nothing."""
        assert self.kept
        made, intent, shown, world = self.kept
        reviewed = Reviewed(shown.digest, shown.revision)
        try:
            done = self.loop.run_until_complete(self.plans.apply(made, intent, reviewed=reviewed))
        except (MovedError, Invalid, ForeignError):
            assert self.world != world
            return
        assert done.changes == shown.changes
        folder = {name: self._content(source) for name, source in ((s.file.removesuffix(".json"), s) for s in made)}
        after = self.expected(intent, folder)
        assert after is not None
        self.become(after)
        self.kept = None

    @rule(intent=INTENTS)
    def apply(self, intent: Intent) -> None:
        after, made, before = self.expected(intent), sources(self.folder), self.store.revision
        if after is None:
            with pytest.raises((Invalid, ForeignError)):
                self.loop.run_until_complete(self.plans.apply(made, intent))
            assert self.store.revision == before
            return
        shown = self.loop.run_until_complete(self.plans.plan(made, intent))
        done = self.loop.run_until_complete(self.plans.apply(made, intent, reviewed=Reviewed(shown.digest)))
        assert done.changes == shown.changes
        assert (self.store.revision > before) == bool(done.changes)
        self.become(after)
        again = self.loop.run_until_complete(self.plans.apply(made, intent))
        assert (again.changes, again.revision) == ((), self.store.revision)

    @precondition(lambda self: self.past)
    @rule(data=st.data())
    def roll_back(self, data: st.DataObject) -> None:
        """The API is what it was, and keeps its owner where it has one."""
        name = data.draw(st.sampled_from(sorted(self.past)))
        revision, was = data.draw(st.sampled_from(self.past[name]))
        before = self.store.revision
        after = self.world | {name: (was[0], self.world.get(name, was)[1])} if was else None
        if after is None or clashes(after):
            with pytest.raises(Invalid):
                self.loop.run_until_complete(self.controller.roll_back(name, revision))
            assert self.store.revision == before
            return
        self.loop.run_until_complete(self.controller.roll_back(name, revision))
        assert (self.store.revision > before) == (after != self.world)
        self.become(after)

    def become(self, after: dict[str, tuple[Content, str]]) -> None:
        """The world is this one, by the write that was the last."""
        for name in {*self.world, *after}:
            if self.world.get(name) != after.get(name):
                self.past.setdefault(name, []).append((self.store.revision, after.get(name)))
        self.world = after

    def expected(
        self, intent: Intent, folder: dict[str, Content] | None = None
    ) -> dict[str, tuple[Content, str]] | None:
        """What is stored after an apply of the folder; None where it is refused."""
        wanted = self.folder if folder is None else folder
        after = dict(self.world)
        for name, content in wanted.items():
            owner = after[name][1] if name in after else ""
            if intent.owner and not intent.take_over and owner not in ("", intent.owner):
                return None
            after[name] = (content, intent.owner or owner)
        if intent.prune and intent.owner:
            after = {name: kept for name, kept in after.items() if name in wanted or kept[1] != intent.owner}
        return None if clashes(after) else after

    def _content(self, source: ApiSource) -> Content:
        spec = json.loads(source.text)["spec"]
        return spec["context"], tuple(spec["hosts"]), int(spec["displayName"].rpartition(" ")[2])

    @invariant()
    def store_equals_the_model(self) -> None:
        stored = {}
        for api in self.store.list():
            spec = api.api.spec
            text = int(str(spec.display_name).rpartition(" ")[2])
            stored[api.name] = ((spec.context, tuple(spec.hosts), text), api.owner)
        assert stored == self.world
        assert self.controller.deployment.apis == set(self.world)
        assert {claim.context for claim in self.store.claims()} == {content[0] for content, _ in self.world.values()}


Sequences.TestCase.settings = settings(max_examples=100, stateful_step_count=20, deadline=None)
TestSequences = Sequences.TestCase
