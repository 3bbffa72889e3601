"""The one table: fault, requests sent, answered as specified, failed, recovery time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from e2e.faults.contract import Verdict
from e2e.faults.figure import Figure

HEAD = ("fault", "sent", "as specified", "failed", "recovery", "not 200, by flow")
MOST_EXAMPLES = 5


@dataclass(frozen=True)
class Line:
    """A row's result: its verdict, or its figures, or why there is none."""

    name: str
    verdict: Verdict | None = None
    skipped: str = ""
    crashed: str = ""
    figures: Sequence[Figure] = ()

    @property
    def kept(self) -> bool:
        figures = all(figure.kept for figure in self.figures)
        return not self.crashed and figures and (self.verdict is None or self.verdict.kept)


def table(lines: Sequence[Line]) -> str:
    """Markdown, with what broke a contract below it."""
    rows = [HEAD, tuple("-" * len(word) for word in HEAD), *(cells(line) for line in lines)]
    drawn = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*drawn, *(text for line in lines for text in reasons(line))])


def cells(line: Line) -> tuple[str, ...]:
    if line.figures:
        return (line.name, *["–"] * 4, "; ".join(map(str, line.figures)))
    if (verdict := line.verdict) is None:
        return (line.name, *["–"] * 4, line.skipped or "did not run to its end")
    failed = len(verdict.failed)
    recovery = "–" if verdict.recovery is None else f"{verdict.recovery:.2f} s"
    return line.name, str(verdict.sent), str(verdict.sent - failed), str(failed), recovery, errors(verdict.outcomes)


def errors(outcomes: Mapping[tuple[str, str], int]) -> str:
    """ "python 503 ×12, harm 504 ×50" """
    errors_by_flow = [
        f"{flow} {outcome} ×{count}" for (flow, outcome), count in sorted(outcomes.items()) if outcome != "200"
    ]
    return ", ".join(errors_by_flow) or "none"


def reasons(line: Line) -> Iterator[str]:
    """Why a row broke its contract."""
    if line.crashed:
        yield f"✗ {line.name}: {line.crashed}"
    yield from (f"✗ {line.name}: {figure}" for figure in line.figures if not figure.kept)
    if line.verdict is None:
        return
    for violation in line.verdict.violations:
        yield f"✗ {line.name}: {violation}"
    groups = Counter((answer.flow, answer.outcome) for answer in line.verdict.failed)
    for (flow, outcome), count in groups.most_common(MOST_EXAMPLES):
        first = next(a for a in line.verdict.failed if (a.flow, a.outcome) == (flow, outcome))
        sentence = f"the first {first.took:.3f} s after it was due: {first.problem!r}"
        yield f"✗ {line.name}: {flow}: {outcome} ×{count}, {sentence}"
