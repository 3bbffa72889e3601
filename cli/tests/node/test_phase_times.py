from __future__ import annotations

import pytest
from gatewright_cli.node.phase_times import PhaseTimes


def test_times_of_a_phase_add_up_in_the_order_in_which_they_began() -> None:
    times = PhaseTimes(clock=iter([0.0, 1.0, 5.0, 5.5, 9.0, 11.0]).__next__)
    with times.measure("build"):
        pass
    with times.measure("files"):
        pass
    with pytest.raises(KeyError), times.measure("build"):
        raise KeyError
    assert times.seconds == {"build": 3.0, "files": 0.5}
    assert list(times.seconds) == ["build", "files"]
