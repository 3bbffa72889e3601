"""The log levels of a node's components, which can change while it runs.

A level applies until the run ends, also to processes that restart; a temporary level is reset when its time is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from gatewright_cli.run.logs.level import Level
from gatewright_cli.run.logs.level_options import COMPONENTS, ENGINE, ENVOY, EXECUTOR, PART, levels_of, with_levels
from gatewright_cli.supervision.logs.output import LogOutput
from gatewright_cli.supervision.specs import ProcessSpec

DEFAULT = "default"
AGAIN_SECONDS = 1.0


class NotAppliedError(Exception):
    """A process has not changed its level: why."""


Apply = Callable[[str, Mapping[str, str]], Awaitable[None]]
"""Applies to a component all present levels; raises NotAppliedError."""


@dataclass(frozen=True)
class _Timed:
    level: str
    until: datetime
    back: asyncio.Task[None] | None = None


class LogLevels:
    """started: the level that each component was started with, parts of Envoy as "envoy.http". again_seconds: the pause
    before a failed reset is tried again. Close it before the processes are stopped.
    """

    def __init__(
        self, started: Mapping[str, str], apply: Apply, output: LogOutput, again_seconds: float = AGAIN_SECONDS
    ) -> None:
        self._started, self._apply, self._output = dict(started), apply, output
        self._again_seconds = again_seconds
        self._set: dict[str, str] = {}
        self._timed: dict[str, _Timed] = {}
        self._one_change = asyncio.Lock()

    def close(self) -> None:
        """Cancels the resets of temporary levels."""
        for timed in self._timed.values():
            if timed.back is not None:
                timed.back.cancel()

    def report(self) -> list[Level]:
        """All levels: components in the order in which they start, Envoy's parts behind it."""
        return [self._level_of(target, level) for target, level in sorted(self._present().items(), key=_order)]

    async def change(self, wanted: Mapping[str, str], seconds: float | None = None) -> list[str]:
        """Changes levels, and returns a sentence for each change that was not made. A level may be `default`: that of
        the start. seconds: after them the level is reset to the one that was last set without a time.
        """
        async with self._one_change:
            mistakes = [*filter(None, (self._mistake(target, level) for target, level in wanted.items()))]
            if mistakes:
                return mistakes
            return [*filter(None, [await self._change(target, level, seconds) for target, level in wanted.items()])]

    def started_with(self, spec: ProcessSpec) -> ProcessSpec:
        """The spec of a process with the present level in its command."""
        present = self._present()
        if present == self._started:
            return spec
        guest = spec.guest
        if guest is not None:
            guest = replace(guest, arguments=with_levels(guest.arguments, guest.component, present))
        command = with_levels(spec.command, spec.component or spec.name, present)
        return replace(spec, command=command, guest=guest)

    def _present(self) -> dict[str, str]:
        timed = {target: temporary.level for target, temporary in self._timed.items()}
        return self._started | self._set | timed

    def _level_of(self, target: str, level: str) -> Level:
        timed = self._timed.get(target)
        if timed is None:
            return Level(target, level)
        until = timed.until.isoformat(timespec="seconds").replace("+00:00", "Z")
        return Level(target, level, until, (self._started | self._set).get(target, ""))

    def _mistake(self, target: str, level: str) -> str:
        component = _component(target)
        known = [*(name for name in COMPONENTS if name in self._started), f"{ENVOY}.PART"]
        if component not in self._started or (target != component and not PART.fullmatch(target)):
            return f"expected a component of this run, {', '.join(known)}, got {target!r}{_component_hint(target)}"
        levels = (*levels_of(component), DEFAULT)
        return "" if level in levels else f"{target}: expected one of {', '.join(levels)}, got {level!r}"

    async def _change(self, target: str, level: str, seconds: float | None) -> str:
        before = dict(self._set), dict(self._timed)
        timed = self._timed.pop(target, None)
        if seconds is None:
            self._set.pop(target, None)
            self._set |= {} if level == DEFAULT else {target: level}
        else:
            until = datetime.now(UTC) + timedelta(seconds=seconds)
            as_started = self._started.get(target, self._started[_component(target)])
            self._timed[target] = _Timed(as_started if level == DEFAULT else level, until)
        try:
            await self._apply(_component(target), self._present())
        except NotAppliedError as error:
            self._set, self._timed = before
            return f"{target}: {error}"
        if timed is not None and timed.back is not None:
            timed.back.cancel()
        if seconds is not None:
            back = asyncio.create_task(self._go_back(target, seconds), name=f"log level of {target}")
            self._timed[target] = replace(self._timed[target], back=back)
        fields = {} if seconds is None else {"until": self._timed[target].until.isoformat(timespec="seconds")}
        self._output.event("log level changed", of=target, to=level, **fields)
        return ""

    async def _go_back(self, target: str, seconds: float) -> None:
        """Resets a temporary level when its time is over. A restarting process starts with the present level; one that
        does not answer is asked again.
        """
        await asyncio.sleep(seconds)
        while True:
            async with self._one_change:
                self._timed.pop(target, None)
                try:
                    await self._apply(_component(target), self._present())
                except NotAppliedError:
                    pass
                else:
                    to = self._present().get(target, DEFAULT)
                    self._output.event("log level changed", of=target, to=to, because="its time is over")
                    return
            await asyncio.sleep(self._again_seconds)


def _component(target: str) -> str:
    return ENVOY if target.startswith(f"{ENVOY}.") else target


def _component_hint(target: str) -> str:
    """A hint for the name of a process, which logs for people show, in place of a component."""
    component = next((name for name in (ENGINE, EXECUTOR) if target.startswith(name.partition("-")[2])), "")
    return f": call it {component}" if component else ""


def _order(item: tuple[str, str]) -> tuple[int, str]:
    return COMPONENTS.index(_component(item[0])), item[0]
