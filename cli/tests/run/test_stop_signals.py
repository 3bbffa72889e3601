from __future__ import annotations

from gatewright_cli.run.stop_signals import REPEAT_SECONDS, StopAction, StopSignals


def test_several_signals_of_one_key_press_count_once() -> None:
    signals = StopSignals()
    received = [signals.received(5.0 + late) for late in (0.0, 0.001, 0.9 * REPEAT_SECONDS)]
    assert received == [StopAction.STOP, StopAction.IGNORE, StopAction.IGNORE]
    assert not signals.forced


def test_a_second_stop_forces() -> None:
    signals = StopSignals()
    assert [signals.received(now) for now in (5.0, 5.5, 6.0, 6.1)] == [
        StopAction.STOP, StopAction.IGNORE, StopAction.FORCE, StopAction.FORCE,
    ]  # fmt: skip
    assert signals.forced
