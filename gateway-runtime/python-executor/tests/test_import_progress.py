import logging
import threading
from collections.abc import Iterator

import pytest
from gatewright_executor.policies import import_progress
from gatewright_executor.policies.import_progress import LIMIT_SECONDS, ImportProgress
from gatewright_executor.testing import SECONDS, Clock, eventually


class Counted(Clock):
    """Counts how often it is read."""

    looks = 0

    def __call__(self) -> float:
        self.looks += 1
        return super().__call__()


class ProgressLog(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.some = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        self.some.set()


@pytest.fixture
def progress_log(caplog: pytest.LogCaptureFixture) -> Iterator[ProgressLog]:
    handler = ProgressLog()
    caplog.set_level(logging.INFO, import_progress.log.name)
    import_progress.log.addHandler(handler)
    yield handler
    import_progress.log.removeHandler(handler)


def test_a_long_import_is_logged_repeatedly(progress_log: ProgressLog) -> None:
    clock = Clock()
    with ImportProgress(3, first=0.01, every=0.01, clock=clock) as progress:
        progress.start_import("quick:v1.0.0")
        progress.start_import("slow:v1.0.0")
        for _ in range(2):
            clock.move(7)
            progress_log.some.clear()
            assert progress_log.some.wait(SECONDS)
    assert "importing policy slow:v1.0.0 (2 of 3), for 14 s" in progress_log.lines


def test_quick_imports_are_not_logged(progress_log: ProgressLog) -> None:
    with ImportProgress(1) as progress:
        progress.start_import("quick:v1.0.0")
    assert progress_log.lines == []


def test_an_import_without_end_is_no_progress(progress_log: ProgressLog) -> None:
    clock = Counted()
    with ImportProgress(1, first=0.01, every=0.01, clock=clock) as progress:
        progress.start_import("endless:v1.0.0")
        assert progress_log.some.wait(SECONDS)
        clock.move(LIMIT_SECONDS)
        most, looks = len(progress_log.lines) + 1, clock.looks  # one may have been on its way
        assert eventually(lambda: clock.looks > looks + 5), "it looks on"
        assert len(progress_log.lines) <= most
