from __future__ import annotations

import pytest
from gatewright_cli.commands.nodes.draining import DrainOrder
from gatewright_cli.commands.nodes.showing_node import describe_node
from gatewright_cli.commands.resources.kinds import NODE, Resource, drain_text
from gatewright_cli.commands.resources.output import table

LACKING = {
    "name": "quota",
    "version": "v1.0.0",
    "reason": "the node's build has no policy quota:v1.0.0; build it in, or take it off the API",
    "apis": ["orders", "billing"],
}


@pytest.fixture
def node() -> Resource:
    """A drained node, whose build lacks a policy."""
    return {
        "id": "eu-1",
        "labels": {"zone": "eu", "tier": "edge"},
        "connectedAt": "2026-12-01T08:00:00+00:00",
        "engineVersion": "0.1.0",
        "policies": [],
        "gateway": {"state": "deployed", "reason": ""},
        "apis": [{"name": "hello"}],
        "states": {"deployed": 1, "pending": 1, "rejected": 2},
        "lacks": [LACKING],
        "pending": [{"name": "slow", "reason": "no route to host"}],
        "rejected": [],
        "drain": {"state": "drained", "by": "token:ann", "since": "2026-12-01T09:00:00Z", "reason": "new kernel"},
    }


def test_a_node_is_shown_with_what_it_lacks_and_who_drained_it(node: Resource) -> None:
    lines = [line.split(maxsplit=1) for line in describe_node(node).splitlines()]
    assert lines == [
        ["node", "eu-1"],
        ["labels", "tier=edge,zone=eu"],
        ["connected", "2026-12-01T08:00:00+00:00"],
        ["engine", "0.1.0"],
        ["drain", "drained, by token:ann since 2026-12-01T09:00:00Z: new kernel"],
        ["gateway", "deployed"],
        ["apis", "1 deployed, 1 pending, 2 rejected"],
        ["lacks", f"{LACKING['reason']} (orders, billing)"],
        ["pending", "slow: no route to host"],
    ]


def test_a_list_has_labels_state_and_counts(node: Resource) -> None:
    heading, line = table(NODE.columns, [node]).splitlines()
    assert heading.split() == ["NAME", "LABELS", "STATE", "CONNECTED", "GATEWAY", "APIS", "PENDING", "REJECTED"]
    assert line.split() == ["eu-1", "tier=edge,zone=eu", "drained", node["connectedAt"], "deployed", "1", "1", "2"]
    assert table(NODE.columns, [node], wide=True).splitlines()[1].split()[-1] == "quota:v1.0.0"


def test_a_node_that_no_controller_can_drain_serves() -> None:
    assert drain_text({"state": "unsupported"}) == "serving"
    assert drain_text({"state": "draining", "by": "local", "since": "t"}) == "draining, by local since t"


def test_an_order_asks_for_no_more_than_it_says() -> None:
    assert DrainOrder("undrain", "n1", 0.0).query == {}
    assert DrainOrder("drain", "n1", 400.0, "new kernel", 0).query == {
        "wait": "300.000",
        "accept": "0",
        "reason": "new kernel",
    }
