"""What the requests of a load have met, phase by phase."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from e2e.kit.answers import Answer


@dataclass
class Phase:
    """Times in seconds since the epoch."""

    name: str
    began: float
    ended: float = 0.0

    def of(self, answers: Sequence[Answer]) -> list[Answer]:
        """Those that came in it, or did not."""
        return [answer for answer in answers if self.began <= answer.ended < self.ended]


@dataclass
class Phases:
    """events: what was done when."""

    phases: list[Phase] = field(default_factory=list)
    events: list[tuple[float, str]] = field(default_factory=list)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self.phases.append(Phase(name, time.time()))
        try:
            yield
        finally:
            self.phases[-1].ended = time.time()

    def note(self, event: str) -> None:
        self.events.append((time.time(), event))

    def table(self, answers: Sequence[Answer]) -> list[str]:
        """A line for each phase and flow."""
        lines = [f"{'phase':32} {'flow':10} {'requests':>8} {'failed':>6} {'p99, ms':>8} {'max, ms':>8}"]
        for phase in self.phases:
            found = phase.of(answers)
            flows = sorted({answer.flow for answer in found})
            lines += [_line(phase, flow, [answer for answer in found if answer.flow == flow]) for flow in flows]
        return lines

    def describe(self, failure: Answer) -> str:
        """A failed request, and what was done before it."""
        before = [f"{text} {failure.due - at:.2f} s before" for at, text in self.events if at <= failure.ended][-3:]
        return f"{failure.flow}: {failure.outcome} {failure.problem} after {failure.took:.3f} s; {', '.join(before)}"


def failed(answers: Sequence[Answer]) -> list[Answer]:
    return [answer for answer in answers if answer.outcome != "200"]


def _line(phase: Phase, flow: str, answers: Sequence[Answer]) -> str:
    times = sorted(answer.took for answer in answers)
    kinds = Counter(answer.outcome for answer in failed(answers))
    why = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    figures = f"{len(times):8} {sum(kinds.values()):6} {_ms(times[int(0.99 * (len(times) - 1))])} {_ms(times[-1])}"
    return f"{phase.name:32} {flow:10} {figures}  {why}".rstrip()


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:8.0f}"
