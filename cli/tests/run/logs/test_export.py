from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine

from gatewright_cli.clients.engine_admin import EngineAdmin, LogSettings, SecretNames
from gatewright_cli.local_http import LocalHttpError
from gatewright_cli.run.logs.export import LogExport
from gatewright_cli.supervision.logs.output import LogOutput


class Engine(EngineAdmin):
    """An engine that keeps the lines it gets. settings: its answer; None: it does not answer."""

    def __init__(self) -> None:
        self.settings: LogSettings | None = None
        self.lines: list[bytes] = []

    async def logs(self) -> LogSettings:
        if self.settings is None:
            raise LocalHttpError("away")
        return self.settings

    async def export_logs(self, lines: bytes) -> None:
        if self.settings is None:
            raise LocalHttpError("away")
        self.lines += lines.splitlines()


Steps = Callable[[LogExport, Engine, LogOutput], Coroutine[None, None, None]]


def live(steps: Steps, **limits: int) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    output, engine = LogOutput(null), Engine()
    try:
        asyncio.run(steps(LogExport(output, engine, SecretNames(fields=("password",)), **limits), engine, output))
    finally:
        output.close()
        os.close(null)


def test_lines_wait_for_the_engine_and_come_in_order() -> None:
    async def steps(export: LogExport, engine: Engine, output: LogOutput) -> None:
        output.event("first")
        assert await export.flush(), "expected another flush soon"
        output.event("second")
        engine.settings = LogSettings(exporting=True)
        assert await export.flush()
        assert [word for line in engine.lines for word in (b"first", b"second") if word in line] == [
            b"first",
            b"second",
        ]
        output.relay_access([b'{"component":"access"}'])
        await export.flush()
        assert engine.lines[-1] == b'{"component":"access"}'

    live(steps)


def test_no_line_is_kept_without_a_collector() -> None:
    async def steps(export: LogExport, engine: Engine, output: LogOutput) -> None:
        output.event("before")
        engine.settings = LogSettings(exporting=False)
        assert not await export.flush()
        assert output.export is None
        engine.settings = LogSettings(exporting=True)
        await export.flush()
        output.event("after")
        await export.flush()
        assert [b"after" in line for line in engine.lines] == [True]

    live(steps)


def test_lines_that_do_not_fit_are_counted_and_reported() -> None:
    async def steps(export: LogExport, engine: Engine, _: LogOutput) -> None:
        export.take(b"x" * 900 + b"\n", 1)
        export.take(b"y" * 200 + b"\n", 7)
        engine.settings = LogSettings(exporting=True)
        await export.flush()
        await export.flush()
        assert engine.lines[0] == b"x" * 900
        assert b'"lines":7' in engine.lines[1]
        assert len(engine.lines) == 2

    live(steps, most_bytes=1000)


def test_an_engine_that_goes_away_loses_nothing() -> None:
    async def steps(export: LogExport, engine: Engine, _: LogOutput) -> None:
        engine.settings = LogSettings(exporting=True)
        for number in range(3):
            export.take(b"%d\n" % number, 1)
        batch = export._batch()
        engine.settings = None
        try:
            await export._send(batch)
        except LocalHttpError:
            engine.settings = LogSettings(exporting=True)
        export.take(b"3\n", 1)
        await export.flush()
        assert engine.lines == [b"0", b"1", b"2", b"3"]

    live(steps)


def test_the_list_of_the_gateway_takes_the_place_of_the_defaults() -> None:
    async def steps(export: LogExport, engine: Engine, output: LogOutput) -> None:
        assert output.shown(b"password=x voucher=y") == b"password=[redacted] voucher=y"
        engine.settings = LogSettings(exporting=False, redaction=SecretNames(fields=("voucher",)))
        await export.flush()
        assert output.shown(b"password=x voucher=y") == b"password=x voucher=[redacted]"

    live(steps)
