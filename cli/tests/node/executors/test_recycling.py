from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from gatewright_cli.clients.engine_admin import ExecutorReport, Hung
from gatewright_cli.node.executors.recycling import (
    MAX_DELAY,
    RESET_AFTER,
    Limits,
    Observed,
    ReplacementBackoff,
    judge,
)

WELL = ExecutorReport(
    group="default", address="unix:/x", generation=1, role="serving", connected=True, serving=True, pid=7, workers=32,
    under_way=0, silent_ms=200, stalled=False, memory_exhausted=False, thread_failed=False, executions_started=1000,
    workers_hung=0, hung=[],
)  # fmt: skip
SEEN = Observed(pid=7, uptime=100.0, resident=50 << 20)
HUNG = Hung(policy="p:v1.0.0", api="a", instance="i-1", count=3, oldest_ms=7000, blocks_instance=False)


@pytest.mark.parametrize(
    ("report", "seen", "limits", "reason", "lost"),
    [
        ({}, {}, Limits(), None, False),
        ({"silent_ms": 1400}, {}, Limits(), None, False),
        ({"silent_ms": 1600}, {}, Limits(), "answered no health check for 1.6 s", False),
        ({"silent_ms": 2900}, {}, Limits(), "answered no health check for 2.9 s", False),
        ({"silent_ms": 3100}, {}, Limits(), "answered no health check for 3.1 s", True),
        ({"silent_ms": 9000, "pid": 6}, {}, Limits(), None, False),  # about the previous process
        ({"stalled": True}, {}, Limits(), "hung executions hold all its workers", True),
        ({"memory_exhausted": True}, {}, Limits(), "run out of memory", False),
        ({"thread_failed": True}, {}, Limits(), "thread that it needs has failed", False),
        ({"serving": False}, {"not_serving": 1.0}, Limits(), None, False),
        ({"serving": False}, {"not_serving": 2.5}, Limits(), "event loop is blocked", False),
        ({"workers_hung": 7, "hung": [HUNG]}, {}, Limits(), None, False),
        ({"workers_hung": 8, "hung": [HUNG]}, {}, Limits(), "8 of its 32 workers hang: p:v1.0.0 of API a", False),
        ({"workers_hung": 1, "workers": 2, "hung": [HUNG]}, {}, Limits(), "1 of its 2 workers hang", False),
        ({"workers_hung": 3, "hung": [HUNG]}, {}, Limits(hung=3), "the oldest for 7 s", False),
        (
            {"workers_hung": 3, "hung": [msgspec.structs.replace(HUNG, blocks_instance=True)]},
            {},
            Limits(),
            "i-1",
            False,
        ),
        ({}, {}, Limits(age=101), None, False),
        ({}, {}, Limits(age=99), "it is 100 s old", False),
        ({}, {"spread": 1.0}, Limits(age=105), "it is 100 s old", False),
        ({}, {}, Limits(executions=1000), None, False),
        ({}, {}, Limits(executions=999), "it has run 1000 executions", False),
        ({}, {}, Limits(resident=50 << 20), None, False),
        ({}, {}, Limits(resident=49 << 20), "it holds 50 MiB", False),
    ],
)
def test_judgements(
    report: dict[str, Any], seen: dict[str, Any], limits: Limits, reason: str | None, lost: bool
) -> None:
    verdict = judge(msgspec.structs.replace(WELL, **report), replace(SEEN, **seen), limits)
    assert (verdict is None) == (reason is None), verdict
    if verdict is not None and reason is not None:
        assert reason in verdict.reason
        assert verdict.kill is lost


def test_the_pause_between_replacements_doubles_and_is_forgotten() -> None:
    backoff, now, pauses = ReplacementBackoff(), 1000.0, []
    assert backoff.allows(now)
    for _ in range(9):
        backoff.record(now)
        pauses.append(backoff.seconds)
        assert not backoff.allows(now + backoff.seconds - 0.1)
        now += backoff.seconds
        assert backoff.allows(now)
    assert pauses == [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, MAX_DELAY, MAX_DELAY, MAX_DELAY]
    backoff.record(now + RESET_AFTER + 1)
    assert backoff.seconds == 5.0
