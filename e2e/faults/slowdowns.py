"""By how much the answers of others become slower, as figures.

The route without policies meets Envoy alone: what it loses is the machine's loss, which Envoy has to carry either way.
The limit is for what the others lose beyond it.
"""

from __future__ import annotations

from collections.abc import Mapping

from e2e.faults.figure import Figure

BARE = "bare"


def slowdown_figures(slowdowns: Mapping[str, float], limit: float, bare_limit: float | None = None) -> list[Figure]:
    """`slowdowns`: flow → its p99 against the same flow's undisturbed. `bare_limit`: for the one without policies."""
    machine = max(1.0, slowdowns[BARE])
    return [
        *(
            Figure(f"p99 of {flow} against undisturbed", slowdown, bare_limit if flow == BARE else None)
            for flow, slowdown in slowdowns.items()
        ),
        *(
            Figure(f"p99 of {flow} against undisturbed, beyond bare's", slowdown / machine, limit)
            for flow, slowdown in slowdowns.items()
            if flow != BARE
        ),
    ]
