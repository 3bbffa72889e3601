"""The executions of an exchange as a table, and as bars if there is room for them."""

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
    """Cells below a heading. right: align to the right. dispensable: without room, the highest is dropped first."""

    heading: str
    cells: tuple[str, ...]
    right: bool = False
    dispensable: int = 0

    @property
    def width(self) -> int:
        return max(map(len, (self.heading, *self.cells)))

    def shortened(self, over: int) -> Column:
        """Narrower by `over`, but at least LEAST_TEXT wide."""
        room = max(LEAST_TEXT, self.width - over)
        return Column(self.heading, tuple(cut(cell, room) for cell in self.cells))

    def lines(self) -> list[str]:
        """The heading and the cells, padded to the same width."""
        place = str.rjust if self.right else str.ljust
        return [place(text, self.width) for text in (self.heading, *self.cells)]


def table(exchange: Exchange, paint: Paint) -> list[str]:
    """Lines: a heading, then one for each execution."""
    executions = with_upstream(exchange)
    columns = _fit_columns(_columns(executions), paint.width)
    rows = [GAP.join(cells) for cells in zip(*(column.lines() for column in columns), strict=True)]
    left = (paint.width if paint.width != UNBOUNDED else len(rows[0]) + 2 + BAR_WIDTH) - len(rows[0]) - len(GAP)
    bars = [""] * len(rows)
    if left >= LEAST_BAR and exchange.duration_ms > 0:
        width = min(left, BAR_WIDTH)
        bars = ["0 ms" + f"{figure(exchange.duration_ms)} ms".rjust(width - 4)]
        bars += [_bar(execution, exchange.duration_ms, width) for execution in executions]
    heading, *lines = [f"{row}{GAP}{bar}".rstrip() for row, bar in zip(rows, bars, strict=True)]
    return [paint.bold(heading), *(_paint_row(text, row, paint) for text, row in zip(lines, executions, strict=True))]


def with_upstream(exchange: Exchange) -> list[Execution]:
    """The executions in order of their start, and between them the upstream, from the request's end to the answer, or
    without an answer to the end of the wait for it.
    """
    answer, cause = exchange.upstream_response, exchange.cause
    if exchange.forwarded is None or answer is None or (cause and cause.party != "upstream"):
        return exchange.executions
    began = exchange.forwarded.at_ms
    outcome = NO_ANSWER if cause else str(answer.status)
    took = max(0.0, max(answer.at_ms, answer.end_ms) - began)
    upstream = Execution(UPSTREAM, "", -1, started_ms=began, duration_ms=took, outcome=outcome)
    before = sum(execution.started_ms < began for execution in exchange.executions)
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
        Column(
            "WORK", tuple(_optional_figure(execution.work_ms) for execution in executions), right=True, dispensable=3
        ),
        Column("WAITED", tuple(_optional_figure(milliseconds) for milliseconds in waited), right=True, dispensable=4),
        Column(
            "CHUNKS",
            tuple(_optional_figure(execution.chunks_ms) for execution in executions),
            right=True,
            dispensable=4,
        ),
        Column("OUTCOME", tuple(_outcome(execution) for execution in executions)),
    ]
    return [column for column in columns if any(column.cells)]


def _fit_columns(columns: list[Column], width: int) -> list[Column]:
    """Drops columns until the rest fits; if that is not enough, cuts texts, the names of policies first."""
    while _width(columns) > width and (dispensable := max(columns, key=lambda column: column.dispensable)).dispensable:
        columns = [column for column in columns if column is not dispensable]
    for heading in ("POLICY", "OUTCOME"):
        over = _width(columns) - width
        if over > 0:
            columns = [column.shortened(over) if column.heading == heading else column for column in columns]
    return columns


def _width(columns: list[Column]) -> int:
    return sum(column.width for column in columns) + len(GAP) * (len(columns) - 1)


def _optional_figure(milliseconds: float | None) -> str:
    return "" if milliseconds is None else figure(max(0.0, milliseconds))


def _outcome(execution: Execution) -> str:
    kind = f": {execution.failure.kind}" if execution.failure else ""
    shadow = "shadow, " if execution.shadow else ""
    comparison = f", {execution.comparison}" if execution.comparison else ""
    return safe(f"{shadow}{execution.outcome}{kind}{comparison}")


def _bar(execution: Execution, whole: float, width: int) -> str:
    """A bar from the execution's start to its end, at least one column wide."""
    first = min(width - 1, max(0, int(execution.started_ms / whole * width)))
    last = min(width, max(first + 1, round((execution.started_ms + execution.duration_ms) / whole * width)))
    return " " * first + "█" * (last - first)


def _paint_row(text: str, execution: Execution, paint: Paint) -> str:
    match execution.outcome:
        case o if o in (FAILED, CONTINUED):
            return paint.red(text)
        case o if o == ANSWERED:
            return paint.yellow(text)
        case "unchanged" | "skipped":
            return paint.dim(text)
    return text
