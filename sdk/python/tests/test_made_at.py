from __future__ import annotations

import copy
import dataclasses
import pickle

from gatewright.made_at import made_at
from gatewright.policy import ImmediateResponse, UpstreamRequestModifications, UpstreamResponseModifications


def test_an_action_knows_the_line_that_made_it() -> None:
    line = test_an_action_knows_the_line_that_made_it.__code__.co_firstlineno
    first, second = UpstreamRequestModifications(), UpstreamResponseModifications()
    third = ImmediateResponse(204)
    assert [made_at(action) for action in (first, second, third)] == [
        (__file__, line + 2),
        (__file__, line + 2),
        (__file__, line + 3),
    ]
    assert made_at(None) == made_at({}) == ("", 0)


def test_the_line_is_no_part_of_the_action() -> None:
    first = UpstreamRequestModifications(path="/x")
    second = UpstreamRequestModifications(path="/x")
    assert first == second
    assert "_line" not in repr(first)
    assert {field.name for field in dataclasses.fields(first)} == set(dataclasses.asdict(first))
    for same in (copy.deepcopy(first), pickle.loads(pickle.dumps(first))):  # noqa: S301 - its own
        assert (same, made_at(same)) == (first, made_at(first))
