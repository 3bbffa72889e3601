"""The result of a replay, for people and as JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from gatewright_cli.exchanges.paint import Paint, safe, wrap_words
from gatewright_cli.exchanges.report import change_lines
from gatewright_cli.exchanges.timeline import GAP, Column
from gatewright_cli.replaying.child_process import Replayed, ReplayedExecution

SUFFIX = ".exchange.json"
CALLER_HINT = re.compile(r"; give \w+=…$")
"""The SDK's hint for callers of its API, which a command's user cannot follow."""


def report(key: str, results: Sequence[Replayed], paint: Paint) -> Iterator[str]:
    """The report on one policy, name:version: a table of the exchanges that differ, and a patch for each."""
    different = [result for result in results if result.error or result.differences]
    if different:
        yield from _table(different, paint)
        for result in different:
            yield ""
            yield from _exchange(key, result, paint)
        yield ""
    yield from (paint.bold(line) for line in wrap_words(summary(key, results), paint.width))


def summary(key: str, results: Sequence[Replayed]) -> str:
    """One sentence."""
    differ = sum(1 for result in results if result.differences)
    failed = sum(1 for result in results if result.error)
    skipped = sum(
        1 for result in results if not result.error and all(execution.skipped for execution in result.executions)
    )
    parts = [f"{differ or 'none'} differ{'s' if differ == 1 else ''}"]
    parts += [f"{failed} could not be replayed"] if failed else []
    parts += [f"{skipped} could not be compared"] if skipped else []
    unknown = sum(1 for result in results if result.warnings)
    parts += [f"{unknown} lack redacted values"] if unknown else []
    return f"{key}: {len(results)} exchange{'' if len(results) == 1 else 's'} replayed: {', '.join(parts)}"


def _table(results: Sequence[Replayed], paint: Paint) -> Iterator[str]:
    replayed = ("not replayed" if result.error else _outcomes(result.executions) for result in results)
    columns = (
        Column("EXCHANGE", tuple(safe(_short_name(result)) for result in results)),
        Column("REQUEST", tuple(safe(f"{result.input.exchange.request.method} {result.input.exchange.target}")
                                for result in results)).shortened(_over(results, paint)),
        Column("RECORDED", tuple(_outcomes(result.executions, recorded=True) for result in results)),
        Column("REPLAYED", tuple(replayed)),
        Column("DIFFERENCES", tuple("" if result.error else str(result.differences) for result in results), right=True),
    )  # fmt: skip
    heading, *lines = [GAP.join(cells).rstrip() for cells in zip(*(column.lines() for column in columns), strict=True)]
    yield paint.bold(heading)
    yield from (paint.red(line) for line in lines)


def _over(results: Sequence[Replayed], paint: Paint) -> int:
    """By how many columns the requests are too wide, about."""
    widest = max(len(result.input.exchange.target) + len(_short_name(result)) for result in results)
    return max(0, widest + 50 - paint.width)


def _short_name(result: Replayed) -> str:
    return Path(result.input.name).name.removesuffix(SUFFIX)


def _outcomes(executions: Sequence[ReplayedExecution], recorded: bool = False) -> str:
    outcomes = [(execution.recorded or "") if recorded else execution.outcome for execution in executions]
    return ", ".join(dict.fromkeys(outcome for outcome in outcomes if outcome)) or "not run"


def _exchange(key: str, result: Replayed, paint: Paint) -> Iterator[str]:
    target = f"{result.input.exchange.request.method} {result.input.exchange.target}"
    heading = f"{result.input.name}: {target}, {key}"
    yield from (paint.bold(line) for line in wrap_words(safe(heading), paint.width))
    if result.error:
        yield from (f"  {paint.red(line)}" for line in wrap_words(safe(result.error), paint.width - 2))
    for execution in result.executions:
        if execution.differences:
            yield f"  {execution.phase.replace('_', ' ')}: - as recorded, + as replayed"
            for change in execution.differences:
                yield from (f"  {line}" for line in change_lines(change, paint))
    for warning in result.warnings:
        text = CALLER_HINT.sub("", warning.removeprefix(f"{result.input.name}: "))
        yield from (f"  {paint.yellow(line)}" for line in wrap_words(safe(f"not known: {text}"), paint.width - 2))


def as_json(key: str, result: Replayed) -> bytes:
    """A line of JSON with the result of one exchange."""
    exchange = result.input.exchange
    fields = {"file": result.input.name, "id": exchange.id, "policy": key, "differences": result.differences}
    return msgspec.json.encode(
        {**fields, "error": result.error, "warnings": result.warnings, "executions": result.executions}
    )
