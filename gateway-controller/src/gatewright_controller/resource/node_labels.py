"""Labels of nodes: their form, and which nodes an API or a token names by them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gatewright_documents.mistake import Mistake
from gatewright_documents.strict import mistakes_of
from msgspec import field

from gatewright_controller.model.common import Labels, Strict


class Labelled(Strict, frozen=True):
    """What has labels."""

    labels: Labels = field(default_factory=dict)


def label_mistakes(labels: Mapping[str, str]) -> Iterator[Mistake]:
    """What is wrong with them, found at the field `labels`."""
    yield from mistakes_of(Labelled, {"labels": dict(labels)})


def has_labels(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether the labels have all that is wanted."""
    return all(labels.get(key) == value for key, value in wanted.items())


def labels_text(labels: Mapping[str, str]) -> str:
    """`tier=edge, zone=eu`; "no labels" for none."""
    return ", ".join(f"{key}={value}" for key, value in sorted(labels.items())) or "no labels"
