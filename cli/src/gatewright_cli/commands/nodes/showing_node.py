"""`gatewright node show`: what a controller knows of one node, in lines."""

from __future__ import annotations

from collections.abc import Iterator

from gatewright_cli.commands.columns import cell_text, lines_in_columns
from gatewright_cli.commands.resources.kinds import Resource, drain_text, labels_of_node


def describe_node(node: Resource) -> str:
    """All but the APIs that it serves as they are to be."""
    rows = [(heading, cell_text(text)) for heading, text in _rows(node)]
    return "".join(f"{line}\n" for line in lines_in_columns(rows))


def _rows(node: Resource) -> Iterator[tuple[str, object]]:
    states, drain = node["states"], node["drain"]
    yield "node", node["id"]
    yield "labels", labels_of_node(node) or "none"
    yield "connected", node["connectedAt"]
    yield "engine", node["engineVersion"]
    yield "drain", drain_text(drain)
    yield "gateway", ": ".join(filter(None, (node["gateway"]["state"], node["gateway"]["reason"])))
    yield "apis", ", ".join(f"{states[state]} {state}" for state in ("deployed", "pending", "rejected"))
    for lacking in node["lacks"]:
        yield "lacks", f"{lacking['reason']} ({', '.join(lacking['apis'])})"
    for state in ("rejected", "pending"):
        for api in node[state]:
            yield state, f"{api['name']}: {api['reason']}"
