"""ARCHITECTURE.md's stations of one execution are those that one passes, in that order."""

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, TypeAlias

import gatewright_executor
import pytest
from gatewright_executor.running.latency import RUN
from gatewright_executor.testing import Engine, piece, request_execution, request_stream

ARCHITECTURE = Path(__file__).parents[3] / "ARCHITECTURE.md"
PACKAGE = Path(gatewright_executor.__file__).parent
MOST_FILES = 10
THREADS = ("connection", "worker-", "coroutines")
Station: TypeAlias = tuple[str, str]
"""A file below the executor's package, and a function in it, as Class.method."""

PASSES = """
    def on_request(ctx, params):
        pass
"""
STREAMS = """
    async def on_request_stream(ctx, chunks, params):
        async for chunk in chunks:
            yield chunk
"""


def section(title: str) -> str:
    found = re.search(rf"^###+ {title}\n(.*?)(?=^#|\Z)", ARCHITECTURE.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"expected a section {title} in {ARCHITECTURE}"
    return found[1]


def stations(title: str) -> list[Station]:
    """The rows of a table: | `FILE` | `FUNCTION` | … |"""
    rows: list[Station] = re.findall(r"^\| `([\w/]+\.py)` \| `([\w.]+)` \|", section(title), re.MULTILINE)
    assert rows
    return rows


def asked(title: str) -> set[str]:
    """Files that the stations ask something on the way."""
    line = re.search(r"^On the way .*$", section(title), re.MULTILINE)
    assert line
    return set(re.findall(r"`([\w/]+\.py)`", line[0]))


class Trace:
    """What the threads that read and those that work have called, in order."""

    def __init__(self) -> None:
        self.calls: list[Station] = []
        self._names: dict[CodeType, Station | None] = {}

    def __call__(self, frame: FrameType, event: str, _arg: Any) -> None:
        if event != "call" or not threading.current_thread().name.startswith(THREADS):
            return
        if frame.f_code not in self._names:
            file = Path(frame.f_code.co_filename)
            ours = file.is_relative_to(PACKAGE)
            self._names[frame.f_code] = (str(file.relative_to(PACKAGE)), frame.f_code.co_qualname) if ours else None
        if (name := self._names[frame.f_code]) is not None:
            self.calls.append(name)

    def of_last_execution(self) -> list[Station]:
        """From the reading of its frame to the sending of its answer."""
        message = last(self.calls, ("session/stream.py", "Stream.message"))
        start = last(self.calls[:message], ("grpc/connection.py", "Connection.next_event"))
        return self.calls[start : last(self.calls, ("grpc/connection.py", "Connection.send")) + 1]


def last(calls: list[Station], station: Station) -> int:
    return len(calls) - 1 - calls[::-1].index(station)


@pytest.fixture
def trace() -> Iterator[Trace]:
    """Of the threads that begin from now on."""
    trace = Trace()
    threading.setprofile(trace)
    yield trace
    threading.setprofile(None)


def passed_in_order(calls: list[Station], listed: list[Station]) -> list[Station]:
    """Those of the list that come one after the other in `calls`: all of them, or as far as it goes."""
    remaining, found = iter(calls), list[Station]()
    for station in listed:
        if station not in remaining:
            break
        found.append(station)
    return found


def test_an_execution_passes_the_stations(trace: Trace, engine: Callable[..., Engine]) -> None:
    one = engine(passes=PASSES)
    one.configure(1, "passes:v1.0.0")
    for number in range(RUN + 2):  # the last ones run where they are read
        one.execute(request_execution(number))
    calls, listed = trace.of_last_execution(), stations("Stations of one execution")
    assert passed_in_order(calls, listed) == listed
    files = {file for file, _ in listed}
    assert len(files) <= MOST_FILES
    others = {file for file, _ in calls} - files - asked("Stations of one execution")
    assert not others, "files that a reader would have to know too"


def test_one_of_a_policy_not_known_to_be_quick_passes_a_worker(trace: Trace, engine: Callable[..., Engine]) -> None:
    one = engine(passes=PASSES)
    one.configure(1, "passes:v1.0.0")
    one.execute(request_execution(1))
    calls, listed = trace.of_last_execution(), stations("Where its policy is not known to be quick")
    assert passed_in_order(calls, listed) == listed


def test_a_stream_passes_the_stations(trace: Trace, engine: Callable[..., Engine]) -> None:
    one = engine(streams=STREAMS)
    one.configure(1, "streams:v1.0.0")
    one.wait(lambda: ("running/growth.py", "Growth.watch") in trace.calls)  # the last of it comes after its answer
    start = len(trace.calls)
    one.send(request_stream(1))
    one.wait(lambda: ("running/chunks.py", "Chunks._wait") in trace.calls)
    one.send(pieces=[piece(1, b"a")])
    one.wait(lambda: one.yielded(1) == b"a")
    one.send(pieces=[piece(1, last=True)])
    one.action(1)
    calls, listed = trace.calls[start:], stations("A stream")
    assert passed_in_order(calls, listed) == listed
    files = {file for file, _ in listed} | asked("A stream") | {"session/reading_loop.py"}
    others = {file for file, _ in calls if not file.startswith("grpc/")} - files
    assert not others, "files that a reader would have to know too"


def test_what_is_renamed_no_longer_passed_or_out_of_order_is_found() -> None:
    calls = [("a.py", "A.one"), ("a.py", "A.helps"), ("b.py", "B.two"), ("c.py", "three")]
    listed = [("a.py", "A.one"), ("b.py", "B.two"), ("c.py", "three")]
    assert passed_in_order(calls, listed) == listed
    assert passed_in_order(calls, [("a.py", "A.first"), *listed[1:]]) == []
    assert passed_in_order(calls[:2], listed) == listed[:1]
    assert passed_in_order(calls, [listed[0], listed[2], listed[1]]) == [listed[0], listed[2]]
