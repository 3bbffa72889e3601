"""The executions of an exchange as a table, and as bars where there is room for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gatewright_cli.exchanges.line import figure
from gatewright_cli.exchanges.paint import UNBOUNDED, Paint, cut, safe
from gatewright_cli.exchanges.recorded import ANSWERED, CONTINUED, FAILED, Exchange, Execution

GAP = "  "
BAR_WIDTH = 30
LEAST_BAR = 12
LEAST_TEXT = 12
UPSTREAM = "(upstream)"
NO_ANSWER = "no answer"


@dataclass(frozen=True)
class Column:
    """Cells below a heading; figures stand right. dispensable: where there is no room, the highest goes first."""

    heading: str
    cells: tuple[str, ...]
    right: bool = False
    dispensable: int = 0

    @property
    def width(self) -> int:
        return max(map(len, (self.heading, *self.cells)))

    def shortened(self, over: int) -> Column:
        """By so many columns, as far as that leaves enough of it."""
        room = max(LEAST_TEXT, self.width - over)
        return Column(self.heading, tuple(cut(cell, room) for cell in self.cells))

    def lines(self) -> list[str]:
        """The heading and the cells, all as wide."""
        place = str.rjust if self.right else str.ljust
        return [place(text, self.width) for text in (self.heading, *self.cells)]


def table(exchange: Exchange, paint: Paint) -> list[str]:
    """Lines: a heading, then one for each execution."""
    executions = with_upstream(exchange)
    columns = _fitting(_columns(executions), paint.width)
    rows = [GAP.join(cells) for cells in zip(*(column.lines() for column in columns), strict=True)]
    left = (paint.width if paint.width != UNBOUNDED else len(rows[0]) + 2 + BAR_WIDTH) - len(rows[0]) - len(GAP)
    bars = [""] * len(rows)
    if left >= LEAST_BAR and exchange.duration_ms > 0:
        width = min(left, BAR_WIDTH)
        bars = ["0 ms" + f"{figure(exchange.duration_ms)} ms".rjust(width - 4)]
        bars += [_bar(one, exchange.duration_ms, width) for one in executions]
    heading, *lines = [f"{row}{GAP}{bar}".rstrip() for row, bar in zip(rows, bars, strict=True)]
    return [paint.bold(heading), *(_painted(text, one, paint) for text, one in zip(lines, executions, strict=True))]


def with_upstream(exchange: Exchange) -> list[Execution]:
    """In order of their beginnings, and between them the upstream, from the request's end to the answer.

    Where there is none, to the end of the wait for one.
    """
    answer, cause = exchange.upstream_response, exchange.cause
    if exchange.forwarded is None or answer is None or (cause and cause.party != "upstream"):
        return exchange.executions
    began = exchange.forwarded.at_ms
    outcome = NO_ANSWER if cause else str(answer.status)
    took = max(0.0, max(answer.at_ms, answer.end_ms) - began)
    upstream = Execution(UPSTREAM, "", -1, started_ms=began, duration_ms=took, outcome=outcome)
    before = sum(one.started_ms < began for one in exchange.executions)
    return [*exchange.executions[:before], upstream, *exchange.executions[before:]]


def _columns(executions: Sequence[Execution]) -> list[Column]:
    waited = [
        execution.duration_ms - execution.work_ms - (execution.chunks_ms or 0.0)
        if execution.work_ms is not None
        else None
        for execution in executions
    ]
    columns = [
        Column(
            "",
            tuple(str(execution.index) if execution.index >= 0 else "" for execution in executions),
            right=True,
            dispensable=2,
        ),
        Column("POLICY", tuple(safe(execution.policy) for execution in executions)),
        Column("PHASE", tuple(safe(execution.phase.replace("_", " ")) for execution in executions), dispensable=1),
        Column("BEGAN", tuple(figure(execution.started_ms) for execution in executions), right=True, dispensable=5),
        Column("TOOK ms", tuple(figure(execution.duration_ms) for execution in executions), right=True),
        Column("WORK", tuple(_known(execution.work_ms) for execution in executions), right=True, dispensable=3),
        Column("WAITED", tuple(_known(milliseconds) for milliseconds in waited), right=True, dispensable=4),
        Column("CHUNKS", tuple(_known(execution.chunks_ms) for execution in executions), right=True, dispensable=4),
        Column("OUTCOME", tuple(_outcome(execution) for execution in executions)),
    ]
    return [column for column in columns if any(column.cells)]


def _fitting(columns: list[Column], width: int) -> list[Column]:
    """Without columns for which there is no room; at last texts are cut, the policies' names first."""
    while _width(columns) > width and (dispensable := max(columns, key=lambda one: one.dispensable)).dispensable:
        columns = [one for one in columns if one is not dispensable]
    for heading in ("POLICY", "OUTCOME"):
        over = _width(columns) - width
        columns = [one.shortened(over) if one.heading == heading and over > 0 else one for one in columns]
    return columns


def _width(columns: list[Column]) -> int:
    return sum(column.width for column in columns) + len(GAP) * (len(columns) - 1)


def _known(milliseconds: float | None) -> str:
    return "" if milliseconds is None else figure(max(0.0, milliseconds))


def _outcome(execution: Execution) -> str:
    kind = f": {execution.failure.kind}" if execution.failure else ""
    shadow = "shadow, " if execution.shadow else ""
    comparison = f", {execution.comparison}" if execution.comparison else ""
    return safe(f"{shadow}{execution.outcome}{kind}{comparison}")


def _bar(execution: Execution, whole: float, width: int) -> str:
    """From its beginning to its end; at least one column, so that it is seen."""
    first = min(width - 1, max(0, int(execution.started_ms / whole * width)))
    last = min(width, max(first + 1, round((execution.started_ms + execution.duration_ms) / whole * width)))
    return " " * first + "█" * (last - first)


def _painted(text: str, execution: Execution, paint: Paint) -> str:
    match execution.outcome:
        case o if o in (FAILED, CONTINUED):
            return paint.red(text)
        case o if o == ANSWERED:
            return paint.yellow(text)
        case "unchanged" | "skipped":
            return paint.dim(text)
    return text
