"""An update of a node looks only at the APIs that may have changed for it, and only the streams of nodes wake that may
have something to send: after any sequence of events that is what a comparison of all APIs finds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import msgspec
from gatewright_controller._gen import node_pb2
from gatewright_controller.nodes.deployment import Deployment
from gatewright_controller.nodes.node import Node
from gatewright_controller.translate import unserved
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from .test_deployment import POLICY, bundle, hello, reported

APIS, NODES = ("a", "b", "c", "d"), ("n1", "n2")
LABELS = st.sampled_from([{}, {"zone": "eu"}, {"zone": "us"}])
POLICIES = st.sampled_from([(), (POLICY,)])
Greeting = tuple[Mapping[str, str], tuple[tuple[str, str, str], ...]]
GREETINGS = st.tuples(LABELS, POLICIES)
SIZE = 100
SETTLED = 9
"""Updates after which none is left."""


class Events(RuleBasedStateMachine):
    """update_bytes: about two bundles."""

    def __init__(self) -> None:
        super().__init__()
        self.deployment = Deployment(update_bytes=3 * SIZE)
        self.revision = 0

    @property
    def next_revision(self) -> int:
        self.revision += 1
        return self.revision

    @initialize(
        written=st.lists(GREETINGS, min_size=len(APIS), max_size=len(APIS)), greetings=st.tuples(GREETINGS, GREETINGS)
    )
    def start(self, written: list[Greeting], greetings: tuple[Greeting, Greeting]) -> None:
        for api, (labels, policies) in zip(APIS, written, strict=True):
            self.write(api, "1", labels, policies)
        for node, (labels, policies) in zip(NODES, greetings, strict=True):
            self.deployment.connect(hello(node, dict.fromkeys(APIS, "1"), *policies, **labels))
            self.update(node, SETTLED)

    @rule(api=st.sampled_from(APIS), digest=st.sampled_from("12"), labels=LABELS, policies=POLICIES)
    def write(
        self, api: str, digest: str, labels: Mapping[str, str], policies: tuple[tuple[str, str, str], ...]
    ) -> None:
        self.deployment.set_desired(bundle(api, digest, *policies, size=SIZE, **labels), self.next_revision)

    @rule(api=st.sampled_from(APIS), reason=st.sampled_from("xy"), labels=LABELS)
    def suspend(self, api: str, reason: str, labels: Mapping[str, str]) -> None:
        self.deployment.suspend(
            msgspec.structs.replace(unserved(api, f"/{api}", "v1", reason), nodes=labels), self.next_revision
        )

    @rule(
        api=st.sampled_from(APIS), successors=st.sets(st.sampled_from(APIS), max_size=2), digest=st.sampled_from("12")
    )
    def remove(self, api: str, successors: set[str], digest: str) -> None:
        for successor in successors - {api}:
            self.write(successor, digest, {}, ())
        self.deployment.remove(api, self.next_revision, successors - {api})

    @rule(
        node=st.sampled_from(NODES),
        greeting=GREETINGS,
        runs=st.dictionaries(st.sampled_from(APIS), st.sampled_from("012")),
    )
    def connect(self, node: str, greeting: Greeting, runs: dict[str, str]) -> None:
        labels, policies = greeting
        self.deployment.connect(hello(node, runs, *policies, **labels))

    @rule(name=st.sampled_from(NODES), greeting=GREETINGS)
    def say_hello_again(self, name: str, greeting: Greeting) -> None:
        labels, policies = greeting
        if node := self.deployment.nodes.get(name):
            self.deployment.update(node, hello(name, None, *policies, **labels))

    @rule(name=st.sampled_from(NODES))
    def disconnect(self, name: str) -> None:
        if node := self.deployment.nodes.get(name):
            self.deployment.disconnect(node)

    @rule(name=st.sampled_from(NODES), rounds=st.sampled_from([1, SETTLED]))
    def update(self, name: str, rounds: int) -> None:
        """All rounds are what the node's stream does until it waits for news."""
        if node := self.deployment.nodes.get(name):
            for _ in range(rounds):
                self.deployment.next_update(node)
            if rounds == SETTLED:
                node.news.clear()
            else:
                node.news.set()

    @rule(name=st.sampled_from(NODES), api=st.sampled_from(APIS), is_rejected=st.booleans())
    def report(self, name: str, api: str, is_rejected: bool) -> None:
        state = node_pb2.ApiStatus.STATE_REJECTED if is_rejected else node_pb2.ApiStatus.STATE_APPLIED
        if (node := self.deployment.nodes.get(name)) and (digest := node.sent.get(api)):
            self.deployment.report(node, reported(api, digest, state))

    @rule(name=st.sampled_from(NODES))
    def report_removals(self, name: str) -> None:
        if node := self.deployment.nodes.get(name):
            for api in sorted(node.removing):
                self.deployment.report(node, reported(api, "", node_pb2.ApiStatus.STATE_REMOVED))

    @invariant()
    def what_is_looked_at_is_all_that_differs(self) -> None:
        for node in self.deployment.nodes.values():
            looking_at_all = copied(node)
            looking_at_all.to_look_at = self.deployment.apis | node.sent.keys()
            expected = self.deployment.next_update(looking_at_all)
            assert self.deployment.next_update(copied(node)) == expected
            assert node.news.is_set() or is_empty(expected)


def is_empty(update: node_pb2.Update) -> bool:
    return not (update.bundles or update.removed_apis or update.secrets or update.HasField("gateway"))


def copied(node: Node) -> Node:
    return dataclasses.replace(
        node,
        sent=dict(node.sent),
        applied=dict(node.applied),
        unapplied=dict(node.unapplied),
        removing=set(node.removing),
        to_look_at=set(node.to_look_at),
        secrets_sent=dict(node.secrets_sent),
    )


Events.TestCase.settings = settings(max_examples=200, stateful_step_count=20, deadline=None)
TestEvents = Events.TestCase
