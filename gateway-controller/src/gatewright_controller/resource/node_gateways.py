"""Which NodeGateway a node has by its labels, and which ones nodes with some labels may have.

A node has the one with the most labels of those that fit it, else the Gateway. Two with as many labels that a node
could have together are refused where they are written; should both be stored all the same, the first name counts.
"""

from __future__ import annotations

from collections.abc import Mapping

from gatewright_controller.resource.node_labels import has_labels

Placed = Mapping[str, Mapping[str, str]]
"""The labels of each NodeGateway's nodes, by its name."""
THE_GATEWAY = ""
"""Stands among names of NodeGateways for the Gateway, which is for all other nodes."""


def chosen_for(labels: Mapping[str, str], placed: Placed) -> str:
    """The name of what a node with these labels has; `THE_GATEWAY` where none fits it."""
    fitting = [name for name, nodes in placed.items() if has_labels(labels, nodes)]
    return min(fitting, key=lambda name: (-len(placed[name]), name), default=THE_GATEWAY)


def possible_for(labels: Mapping[str, str], placed: Placed) -> list[str]:
    """The names of all that nodes which have these labels, and perhaps more, may have."""
    certain = chosen_for(labels, placed)
    least = len(placed[certain]) if certain else 0
    further = (name for name, nodes in placed.items() if len(nodes) >= least and may_meet(labels, nodes))
    return [certain, *sorted(name for name in further if name != certain)]


def rival_of(name: str, placed: Placed) -> str:
    """Another one with as many labels that a node could have together with these; "" where there is none."""
    nodes = placed[name]
    rivals = (
        other
        for other, others in placed.items()
        if other != name and len(others) == len(nodes) and may_meet(nodes, others)
    )
    return min(rivals, default="")


def may_meet(labels: Mapping[str, str], others: Mapping[str, str]) -> bool:
    """Whether a node can have all of both."""
    return all(others.get(key, value) == value for key, value in labels.items())
