from __future__ import annotations

from e2e.faults.isolation import ratio
from e2e.faults.quantile import lower_quartile, p99
from e2e.kit.answers import Answer


def lasting(seconds: float) -> list[Answer]:
    return [Answer("go", 0.0, seconds, 200, "", "")]


def test_p99_is_a_measured_value() -> None:
    assert p99(range(200)) == 198
    assert p99([]) == 0.0


def test_rounds_that_other_work_disturbed_do_not_count() -> None:
    assert lower_quartile([1.0, 1.1, 1.1, 40.0, 1.1, 90.0, 3.0]) == 1.1


def test_a_slowdown_in_every_round_is_seen_beside_noisy_rounds() -> None:
    noise = (0.0, 9.0, 0.1, 5.0, 0.0, 0.0, 3.0)
    kinds = {"awake": 1.0, "asleep": 1.5}
    rounds = {kind: [lasting(took + more) for more in noise] for kind, took in kinds.items()}
    assert ratio(rounds, "asleep", "go") == 1.5
