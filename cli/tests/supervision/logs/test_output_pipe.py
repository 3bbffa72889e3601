from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from gatewright_cli.supervision.logs.output_pipe import OutputPipe

if TYPE_CHECKING:
    from cli.tests.conftest import Bench


def test_lines_of_a_busy_writer_come_together_and_the_first_one_at_once(bench: Bench) -> None:
    batches: list[list[bytes]] = []

    async def live() -> None:
        pipe = OutputPipe(batches.append)
        os.write(pipe.write_end, b"first\n")
        await bench.until(lambda: batches)
        for number in range(100):
            os.write(pipe.write_end, b"%d\n" % number)
            await asyncio.sleep(0)
        await bench.until(lambda: sum(map(len, batches)) == 101)
        os.close(pipe.write_end)
        pipe.read_to_end()

    bench.run(live())
    assert batches[0] == [b"first"]
    assert [line for batch in batches[1:] for line in batch] == [b"%d" % number for number in range(100)]
    assert len(batches) < 10


def test_the_end_passes_on_what_a_pause_has_left(bench: Bench) -> None:
    lines: list[bytes] = []

    async def live() -> None:
        pipe = OutputPipe(lines.extend)
        os.write(pipe.write_end, b"one\n")
        await bench.until(lambda: lines)
        os.write(pipe.write_end, b"two\nwithout an end")
        os.close(pipe.write_end)
        pipe.read_to_end()
        assert lines == [b"one", b"two", b"without an end"]

    bench.run(live())
