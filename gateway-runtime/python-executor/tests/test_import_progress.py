import logging
import threading
from collections.abc import Iterator

import pytest
from gatewright_executor.policies import import_progress
from gatewright_executor.policies.import_progress import LIMIT_SECONDS, ImportProgress
from gatewright_executor.testing import SECONDS, Clock, eventually


class Counted(Clock):
    """Notes how often it is looked at."""

    looks = 0

    def __call__(self) -> float:
        self.looks += 1
        return super().__call__()


class Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.some = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        self.some.set()


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture) -> Iterator[Heard]:
    handler = Heard()
    caplog.set_level(logging.INFO, import_progress.log.name)
    import_progress.log.addHandler(handler)
    yield handler
    import_progress.log.removeHandler(handler)


def test_a_long_import_is_logged_repeatedly(heard: Heard) -> None:
    clock = Clock()
    with ImportProgress(3, first=0.01, every=0.01, clock=clock) as progress:
        progress.start_import("quick:v1.0.0")
        progress.start_import("slow:v1.0.0")
        for _ in range(2):
            clock.move(7)
            heard.some.clear()
            assert heard.some.wait(SECONDS)
    assert "importing policy slow:v1.0.0 (2 of 3), for 14 s" in heard.lines


def test_quick_imports_are_not(heard: Heard) -> None:
    with ImportProgress(1) as progress:
        progress.start_import("quick:v1.0.0")
    assert heard.lines == []


def test_an_import_without_end_is_no_progress(heard: Heard) -> None:
    clock = Counted()
    with ImportProgress(1, first=0.01, every=0.01, clock=clock) as progress:
        progress.start_import("endless:v1.0.0")
        assert heard.some.wait(SECONDS)
        clock.move(LIMIT_SECONDS)
        said, looks = len(heard.lines) + 1, clock.looks  # one may have been on its way
        assert eventually(lambda: clock.looks > looks + 5), "it looks on"
        assert len(heard.lines) <= said
