from __future__ import annotations

import threading

from gatewright_builder.events import Event, Step, Waiting, step


def test_a_step_that_takes_long_says_what_goes_on_and_for_how_long() -> None:
    said, enough = list[Event](), threading.Event()
    part = "the first part"

    def say(event: Event) -> None:
        nonlocal part
        said.append(event)
        part = "another part"
        if len(said) == 4:
            enough.set()

    with step(say, "a step", lambda: part, first_seconds=0.01):
        assert enough.wait(20)
    assert said[0] == Step("a step")
    waited = [event for event in said[1:4] if isinstance(event, Waiting)]
    assert [event.text for event in waited] == ["another part"] * 3
    assert 0 < waited[0].seconds < waited[1].seconds < waited[2].seconds


def test_a_quick_one_says_no_more_than_that_it_begins() -> None:
    said = list[Event]()
    with step(said.append, "a step"):
        pass
    assert said == [Step("a step")]
