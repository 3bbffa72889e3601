"""Whether what processes hold has stayed the same. Plain values in, plain values out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

RELATIVE = 0.1
SLACK = {"memory": 4 << 20, "threads": 3, "files": 8, "goroutines": 40}
"""Tolerances for what varies with the requests under way; only growth beyond both counts."""


@dataclass(frozen=True)
class Sample:
    """At so many seconds: by process, then by resource ("memory" in bytes, "threads", "files", "goroutines")."""

    at: float
    held: Mapping[str, Mapping[str, int]]


def find_growth(samples: Sequence[Sample]) -> list[str]:
    """The growth from the first third of the samples to the last, in sentences; or a note that there are too few."""
    if len(samples) < 6:
        return [f"expected at least 6 samples after the warm-up, got {len(samples)}"]
    return [
        f"✗ {process}: {resource} grew from {before:.0f} to {after:.0f}"
        for process, resource, before, _, after in _medians(samples)
        if after > max(before * (1 + RELATIVE), before + SLACK[resource])
    ]


def report(samples: Sequence[Sample]) -> str:
    """Markdown: what each process held in each third."""
    rows = [
        f"| {process} | {resource} | {' | '.join(f'{value:.0f}' for value in thirds)} |"
        for process, resource, *thirds in _medians(samples)
    ]
    head = "| process | holds | at first | in the middle | at last |"
    return "\n".join([head, "| --- | --- | --- | --- | --- |", *rows])


def _medians(samples: Sequence[Sample]) -> list[tuple[str, str, float, float, float]]:
    """Process, resource, and the median of each third."""
    third = max(len(samples) // 3, 1)
    names = sorted(
        {(process, resource) for sample in samples for process, values in sample.held.items() for resource in values}
    )
    medians = []
    for process, resource in names:
        parts = samples[:third], samples[third:-third], samples[-third:]
        first, middle, last = (_values(part, process, resource) for part in parts)
        if first and middle and last:
            medians.append((process, resource, median(first), median(middle), median(last)))
    return medians


def _values(samples: Sequence[Sample], process: str, resource: str) -> list[int]:
    return [sample.held[process][resource] for sample in samples if resource in sample.held.get(process, {})]
