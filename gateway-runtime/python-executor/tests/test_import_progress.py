import logging
import threading
from types import SimpleNamespace

import pytest
from gatewright_executor.policies import import_progress
from gatewright_executor.policies.import_progress import ImportProgress
from gatewright_executor.testing import eventually


class Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.some = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        self.some.set()


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Heard:
    handler = Heard()
    monkeypatch.setattr(import_progress.log, "handlers", [handler])
    monkeypatch.setattr(import_progress.log, "level", logging.INFO)
    return handler


def test_a_long_import_is_told_of_again_and_again(heard: Heard) -> None:
    with ImportProgress(3, first=0.01, every=0.01) as progress:
        progress.start_import("quick:v1.0.0")
        progress.start_import("slow:v1.0.0")
        for _ in range(2):
            heard.some.clear()
            assert heard.some.wait(10)
    assert "importing policy slow:v1.0.0 (2 of 3), for 0 s" in heard.lines


def test_quick_imports_are_not(heard: Heard) -> None:
    with ImportProgress(1) as progress:
        progress.start_import("quick:v1.0.0")
    assert heard.lines == []


def test_an_import_without_end_is_no_progress(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    with ImportProgress(1, first=0.01, every=0.01) as progress:
        progress.start_import("endless:v1.0.0")
        assert heard.some.wait(10)
        monkeypatch.setattr(import_progress, "LIMIT_SECONDS", 0)
        said = len(heard.lines) + 1  # one may have been on its way
        looks = list[float]()

        def monotonic() -> float:
            looks.append(1e9)
            return looks[-1]

        monkeypatch.setattr(import_progress, "time", SimpleNamespace(monotonic=monotonic))
        assert eventually(lambda: len(looks) > 5), "it looks on"
        assert len(heard.lines) <= said
