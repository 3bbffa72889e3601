"""The files that ARCHITECTURE.md lists of an execution are those that one passes, in that order."""

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import gatewright_executor
import pytest
from gatewright_executor.running.latency import RUN
from gatewright_executor.testing import Engine, piece, request_execution, request_stream

ARCHITECTURE = Path(__file__).parents[3] / "ARCHITECTURE.md"
PACKAGE = Path(gatewright_executor.__file__).parent
MOST_FILES = 10
THREADS = ("connection", "worker-", "coroutines")

PASSES = """
    def on_request(ctx, params):
        pass
"""
STREAMS = """
    async def on_request_stream(ctx, chunks, params):
        async for chunk in chunks:
            yield chunk
"""


class Section:
    """A section of the page: the files of the executor's package that it lists and names."""

    def __init__(self, title: str) -> None:
        found = re.search(rf"^###+ {title}\n(.*?)(?=^#|\Z)", ARCHITECTURE.read_text(), re.MULTILINE | re.DOTALL)
        assert found, f"expected a section {title} in {ARCHITECTURE}"
        self.listed: list[str] = re.findall(r"^\| `([\w/]+\.py)` \|", found[1], re.MULTILINE)
        """The rows of its table, in order."""
        self.named: set[str] = set(re.findall(r"`([\w/]+\.py)`", found[1]))


class Trace:
    """The files whose functions the threads that read and those that work have called, in order."""

    def __init__(self) -> None:
        self.files: list[str] = []
        self._known: dict[CodeType, str] = {}

    def __call__(self, frame: FrameType, event: str, _arg: Any) -> None:
        if event != "call" or not threading.current_thread().name.startswith(THREADS):
            return
        if frame.f_code not in self._known:
            file = Path(frame.f_code.co_filename)
            self._known[frame.f_code] = str(file.relative_to(PACKAGE)) if file.is_relative_to(PACKAGE) else ""
        if ours := self._known[frame.f_code]:
            self.files.append(ours)

    def passed_in_order(self, listed: list[str]) -> list[str]:
        """The files of the list that were passed one after the other, up to the first that was not."""
        remaining = iter(self.files)
        return [file for file in listed if file in remaining]


@pytest.fixture
def trace() -> Iterator[Trace]:
    """Traces the threads that start from now on."""
    trace = Trace()
    threading.setprofile(trace)
    yield trace
    threading.setprofile(None)


def test_an_execution_passes_the_listed_files(trace: Trace, start_engine: Callable[..., Engine]) -> None:
    """By a stopped clock each of them is quick, however busy the machine is."""
    section, engine = Section("Files of one execution"), start_engine(clock=lambda: 1.0, passes=PASSES)
    assert 0 < len(section.listed) <= MOST_FILES
    engine.configure(1, "passes:v1.0.0")
    for number in range(RUN + 1):
        engine.execute(request_execution(number))
    trace.files.clear()
    engine.execute(request_execution(RUN + 1))  # runs where it is read
    assert trace.passed_in_order(section.listed) == section.listed
    assert set(trace.files) <= section.named, "files that a reader would have to know too"


def test_an_execution_of_a_policy_not_known_to_be_quick_passes_a_worker(
    trace: Trace, start_engine: Callable[..., Engine]
) -> None:
    section, engine = Section("Files of one execution"), start_engine(passes=PASSES)
    engine.configure(1, "passes:v1.0.0")
    trace.files.clear()
    engine.execute(request_execution(1))
    listed = [file for file in section.listed if file != "running/inline_runner.py"]
    listed.insert(listed.index("running/execution.py"), "running/worker_pool.py")
    assert trace.passed_in_order(listed) == listed


def test_a_stream_passes_the_listed_files(trace: Trace, start_engine: Callable[..., Engine]) -> None:
    section, engine = Section("A stream"), start_engine(streams=STREAMS)
    engine.configure(1, "streams:v1.0.0")
    engine.wait(lambda: "running/growth.py" in trace.files)  # the last of it comes after its answer
    trace.files.clear()
    engine.send(request_stream(1))
    engine.wait(lambda: "running/chunks.py" in trace.files)
    engine.send(pieces=[piece(1, b"a")])
    engine.wait(lambda: engine.yielded(1) == b"a")
    engine.send(pieces=[piece(1, last=True)])
    engine.action(1)
    assert section.listed
    assert trace.passed_in_order(section.listed) == section.listed
    others = {file for file in trace.files if not file.startswith("grpc/")} - section.named
    assert not others, "files that a reader would have to know too"
