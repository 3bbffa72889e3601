"""The metrics of the policy."""

from __future__ import annotations

from sdk.metrics import Counter, Histogram

OTHER = "other"
MOST_TOOLS = 200
CALLS = Counter("mcp_calls_total", "Calls of tools.", ["api", "tool", "outcome"], max_label_sets=5000)
SECONDS = Histogram(
    "mcp_call_seconds",
    "Time from a call of a tool to the end of its answer.",
    ["api", "tool"],
    buckets=[0.01 * 4**power for power in range(9)],
    max_label_sets=1000,
)
_known: set[tuple[str, str]] = set()
"""API and tool, of all instances in this process, since they count in the same metrics."""


def count(api: str, tool: str, outcome: str, seconds: float) -> None:
    """Counts a call. A name that only a client knows makes no label."""
    if outcome == "ok" and len(_known) < MOST_TOOLS:
        _known.add((api, tool))
    label = tool[:128] if (api, tool) in _known else OTHER
    CALLS.inc(api=api, tool=label, outcome=outcome)
    SECONDS.observe(seconds, api=api, tool=label)
