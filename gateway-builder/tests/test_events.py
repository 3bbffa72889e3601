from __future__ import annotations

import threading

from gatewright_builder.events import Event, Step, Waiting, step


def test_a_long_step_reports_what_goes_on_and_for_how_long() -> None:
    events, enough = list[Event](), threading.Event()
    part = "the first part"

    def say(event: Event) -> None:
        nonlocal part
        events.append(event)
        part = "another part"
        if len(events) == 4:
            enough.set()

    with step(say, "a step", lambda: part, first_seconds=0.01):
        assert enough.wait(20)
    assert events[0] == Step("a step")
    waited = [event for event in events[1:4] if isinstance(event, Waiting)]
    assert [event.text for event in waited] == ["another part"] * 3
    assert 0 < waited[0].seconds < waited[1].seconds < waited[2].seconds


def test_a_quick_step_reports_its_beginning_alone() -> None:
    events = list[Event]()
    with step(events.append, "a step"):
        pass
    assert events == [Step("a step")]
