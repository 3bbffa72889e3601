from __future__ import annotations

import pytest
from gatewright_cli.supervision.timer_coalescing import until_next_tick


@pytest.mark.parametrize("now", [10.0, 10.2, 10.49, 10.51, 10.99])
def test_timers_of_the_same_period_fire_together(now: float) -> None:
    pause = until_next_tick(0.5, lambda: now)
    assert 0.25 <= pause < 0.75
    assert (now + pause) % 0.5 == pytest.approx(0.0, abs=1e-9) or (now + pause) % 0.5 == pytest.approx(0.5)
