from __future__ import annotations

from gatewright_cli.run.stop_signals import REPEAT_SECONDS, Wish, Wishes


def test_one_key_that_comes_as_several_signals_is_one_wish() -> None:
    wishes = Wishes()
    heard = [wishes.heard(5.0 + late) for late in (0.0, 0.001, 0.9 * REPEAT_SECONDS)]
    assert heard == [Wish.STOP, Wish.NOTHING_NEW, Wish.NOTHING_NEW]
    assert not wishes.forced


def test_a_second_wish_forces() -> None:
    wishes = Wishes()
    assert [wishes.heard(now) for now in (5.0, 5.5, 6.0, 6.1)] == [
        Wish.STOP, Wish.NOTHING_NEW, Wish.FORCE, Wish.FORCE,
    ]  # fmt: skip
    assert wishes.forced
