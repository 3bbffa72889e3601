"""The rules for names, labels and buckets of metrics."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

MOST_LABEL_SETS = 10_000  # the largest max_label_sets of a metric
MAX_LABELS = 10
MAX_BUCKETS = 100
MAX_NAME = 100  # characters; of a label's name too
MAX_DOCUMENTATION = 4096  # bytes in UTF-8

_INFINITE = float("inf")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_RESERVED_LABELS = {
    "policy": "the gateway sets it itself",
    "le": "it is a bucket's bound",
    "quantile": "it is a summary's",
}
_RESERVED_ENDS = ("_bucket", "_count", "_sum", "_created", "_info")


class MetricError(ValueError):
    """An invalid metric or observation. The text says what was expected, what it got, and the cure."""


def check_definition(
    kind: str, name: str, documentation: str, labels: Sequence[str], buckets: Sequence[float], max_label_sets: int
) -> tuple[float, ...]:
    """The bounds of a histogram's buckets, () for another kind. MetricError if the metric is invalid."""
    _check_name(kind, name)
    _check_documentation(name, documentation)
    _check_labels(name, labels)
    if type(max_label_sets) is not int or not 0 < max_label_sets <= MOST_LABEL_SETS:
        expected = f"expected a whole number from 1 to {MOST_LABEL_SETS}"
        raise MetricError(f"{name}: max_label_sets: {expected}, got {max_label_sets!r:.80}")
    return _checked_buckets(name, buckets) if kind == "histogram" else ()


def _check_documentation(name: str, documentation: object) -> None:
    if not isinstance(documentation, str) or not documentation.strip():
        raise MetricError(f"{name}: documentation: expected a sentence that says what it is, got {documentation!r:.80}")
    try:
        size = len(documentation.encode())
    except UnicodeEncodeError:
        raise MetricError(f"{name}: documentation: expected text in Unicode, got {documentation!r:.80}") from None
    if size > MAX_DOCUMENTATION:
        raise MetricError(f"{name}: documentation: expected at most {MAX_DOCUMENTATION} bytes, got {size}")


def _check_labels(name: str, labels: Sequence[str]) -> None:
    if isinstance(labels, str) or not all(isinstance(label, str) for label in labels):
        raise MetricError(f"{name}: labels: expected a list of names, got {labels!r:.80}")
    if len(labels) > MAX_LABELS or len(set(labels)) != len(labels):
        raise MetricError(f"{name}: labels: expected at most {MAX_LABELS}, each once, got {', '.join(labels):.200}")
    for label in labels:
        _check_label(name, label)


def _check_name(kind: str, name: object) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > MAX_NAME:
        expected = f"expected a name of a metric, small letters, digits and _, {MAX_NAME} characters at most"
        raise MetricError(f"{expected}, got {name!r:.200}")
    if kind == "counter" and not name.endswith("_total"):
        raise MetricError(f"{name}: expected the name of a counter to end with _total; call it {name}_total")
    for end in _RESERVED_ENDS if kind == "counter" else (*_RESERVED_ENDS, "_total"):
        if name.endswith(end):
            raise MetricError(f"{name}: expected a name of a {kind} that does not end with {end}, which means another")


def _check_label(name: str, label: str) -> None:
    if not _NAME.fullmatch(label) or len(label) > MAX_NAME:
        expected = "expected a name of a label, small letters, digits and _, which begins with a letter"
        raise MetricError(f"{name}: labels: {expected}, got {label!r:.200}")
    if why := _RESERVED_LABELS.get(label):
        raise MetricError(f"{name}: labels: expected another name than {label}: {why}")


def _checked_buckets(name: str, buckets: Sequence[float]) -> tuple[float, ...]:
    try:
        bounds = tuple(float(bound) for bound in buckets)
    except (TypeError, ValueError, OverflowError):
        raise MetricError(f"{name}: buckets: expected a list of numbers, got {buckets!r:.80}") from None
    grow = all(low < high for low, high in pairwise(bounds))
    if not 0 < len(bounds) <= MAX_BUCKETS or not grow or not all(abs(bound) < _INFINITE for bound in bounds):
        raise MetricError(
            f"{name}: buckets: expected 1 to {MAX_BUCKETS} upper bounds, each finite and larger than the one before, "
            f"got {', '.join(f'{bound:g}' for bound in bounds):.200}"
        )
    return bounds
