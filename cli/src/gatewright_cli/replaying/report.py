"""What came of a replay, for people and as JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from gatewright_cli.exchanges.paint import Paint, safe, wrapped
from gatewright_cli.exchanges.report import change_lines
from gatewright_cli.exchanges.timeline import GAP, Column
from gatewright_cli.replaying.child_process import Replayed, ReplayedExecution

SUFFIX = ".exchange.json"
_GIVE = re.compile(r"; give \w+=…$")
"""What the SDK says to those who call it."""


def report(key: str, replayed: Sequence[Replayed], paint: Paint) -> Iterator[str]:
    """Of one policy, name:version: a table of the exchanges that differ, and each of them as a patch."""
    different = [one for one in replayed if one.error or one.differences]
    if different:
        yield from _table(different, paint)
        for one in different:
            yield ""
            yield from _exchange(key, one, paint)
        yield ""
    yield from (paint.bold(line) for line in wrapped(summary(key, replayed), paint.width))


def summary(key: str, replayed: Sequence[Replayed]) -> str:
    """One sentence."""
    differ = sum(1 for one in replayed if one.differences)
    failed = sum(1 for one in replayed if one.error)
    skipped = sum(1 for one in replayed if not one.error and all(each.skipped for each in one.executions))
    parts = [f"{differ or 'none'} differ{'s' if differ == 1 else ''}"]
    parts += [f"{failed} could not be replayed"] if failed else []
    parts += [f"{skipped} could not be compared"] if skipped else []
    unknown = sum(1 for one in replayed if one.warnings)
    parts += [f"{unknown} lack redacted values"] if unknown else []
    return f"{key}: {len(replayed)} exchange{'' if len(replayed) == 1 else 's'} replayed: {', '.join(parts)}"


def _table(replayed: Sequence[Replayed], paint: Paint) -> Iterator[str]:
    columns = (
        Column("EXCHANGE", tuple(safe(_shown(one)) for one in replayed)),
        Column("REQUEST", tuple(safe(f"{one.input.exchange.request.method} {one.input.exchange.target}")
                                for one in replayed)).shortened(_over(replayed, paint)),
        Column("RECORDED", tuple(_outcomes(one.executions, recorded=True) for one in replayed)),
        Column("REPLAYED", tuple("not replayed" if one.error else _outcomes(one.executions) for one in replayed)),
        Column("DIFFERENCES", tuple("" if one.error else str(one.differences) for one in replayed), right=True),
    )  # fmt: skip
    heading, *lines = [GAP.join(cells).rstrip() for cells in zip(*(one.lines() for one in columns), strict=True)]
    yield paint.bold(heading)
    yield from (paint.red(line) for line in lines)


def _over(replayed: Sequence[Replayed], paint: Paint) -> int:
    """By how much the requests are too wide, about."""
    widest = max(len(one.input.exchange.target) + len(_shown(one)) for one in replayed)
    return max(0, widest + 50 - paint.width)


def _shown(one: Replayed) -> str:
    return Path(one.input.name).name.removesuffix(SUFFIX)


def _outcomes(executions: Sequence[ReplayedExecution], recorded: bool = False) -> str:
    said = [(one.recorded or "") if recorded else one.outcome for one in executions]
    return ", ".join(dict.fromkeys(one for one in said if one)) or "not run"


def _exchange(key: str, one: Replayed, paint: Paint) -> Iterator[str]:
    target = f"{one.input.exchange.request.method} {one.input.exchange.target}"
    heading = f"{one.input.name}: {target}, {key}"
    yield from (paint.bold(line) for line in wrapped(safe(heading), paint.width))
    if one.error:
        yield from (f"  {paint.red(line)}" for line in wrapped(safe(one.error), paint.width - 2))
    for execution in one.executions:
        if execution.differences:
            yield f"  {execution.phase.replace('_', ' ')}: - as recorded, + as replayed"
            for change in execution.differences:
                yield from (f"  {line}" for line in change_lines(change, paint))
    for warning in one.warnings:
        text = _GIVE.sub("", warning.removeprefix(f"{one.input.name}: "))
        yield from (f"  {paint.yellow(line)}" for line in wrapped(safe(f"not known: {text}"), paint.width - 2))


def as_json(key: str, one: Replayed) -> bytes:
    """A line: what came of one exchange."""
    exchange = one.input.exchange
    told = {"file": one.input.name, "id": exchange.id, "policy": key, "differences": one.differences}
    return msgspec.json.encode({**told, "error": one.error, "warnings": one.warnings, "executions": one.executions})
