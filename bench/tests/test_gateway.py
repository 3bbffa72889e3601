from __future__ import annotations

import pytest

from bench import gateway
from bench.error import BenchError


def status(engine: int | None = 12) -> dict[str, object]:
    processes = [("controller", 10), ("executor-0", 11), ("executor-1", 14), ("engine", engine), ("envoy", 13)]
    return {"pid": 9, "processes": [{"name": name, "pid": pid, "state": "restarting"} for name, pid in processes]}


def test_processes_go_to_their_columns() -> None:
    assert gateway.pids(status()) == {"Envoy": (13,), "Go": (12,), "Python": (11, 14), "rest": (9, 10)}


def test_a_process_that_is_not_running_is_named() -> None:
    with pytest.raises(BenchError, match="the gateway's process engine to run, got state restarting"):
        gateway.pids(status(engine=None))


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("executor-0", "Python"),
        ("executor-ml-3", "Python"),
        ("engine", "Go"),
        ("envoy", "Envoy"),
        ("x", "rest"),
    ],
)
def test_a_column_by_the_processs_name(name: str, column: str) -> None:
    assert gateway.column_of(name) == column
