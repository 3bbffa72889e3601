from __future__ import annotations

from gatewright_cli.commands.nodes.listing_nodes import describe_refused


def test_refused_nodes_are_a_table_of_their_own() -> None:
    assert describe_refused([]) == ""
    claimed = {
        "id": "eu\x1b[2J",
        "peer": "ipv4:10.0.0.7:51",
        "reason": "expected a token",
        "at": "2026-12-01T08:00:00Z",
    }
    assert describe_refused([claimed]).splitlines() == [
        "",
        "REFUSED    FROM              LAST                  REASON",
        "eu\\x1b[2J  ipv4:10.0.0.7:51  2026-12-01T08:00:00Z  expected a token",
    ]
