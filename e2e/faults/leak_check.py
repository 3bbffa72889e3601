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
        for process, resource, before, after in _medians(samples)
        if after > max(before * (1 + RELATIVE), before + SLACK[resource])
    ]


def report(samples: Sequence[Sample]) -> str:
    """Markdown: what each process held in the first and in the last third."""
    rows = [
        f"| {process} | {resource} | {before:.0f} | {after:.0f} |"
        for process, resource, before, after in _medians(samples)
    ]
    return "\n".join(["| process | holds | at first | at last |", "| --- | --- | --- | --- |", *rows])


def _medians(samples: Sequence[Sample]) -> list[tuple[str, str, float, float]]:
    third = max(len(samples) // 3, 1)
    names = sorted(
        {(process, resource) for sample in samples for process, values in sample.held.items() for resource in values}
    )
    medians = []
    for process, resource in names:
        first, last = (_values(part, process, resource) for part in (samples[:third], samples[-third:]))
        if first and last:
            medians.append((process, resource, median(first), median(last)))
    return medians


def _values(samples: Sequence[Sample], process: str, resource: str) -> list[int]:
    return [sample.held[process][resource] for sample in samples if resource in sample.held.get(process, {})]
