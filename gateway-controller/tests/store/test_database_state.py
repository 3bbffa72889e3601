"""Whether a database answers: by its last use, with one thread at a time that tries it again."""

from __future__ import annotations

import pytest
from gatewright_controller.store import StorageError
from gatewright_controller.store.database_state import DatabaseState


def test_while_the_database_is_away_one_thread_tries_it_and_others_are_answered_at_once() -> None:
    state = DatabaseState(lambda error: f"away: {error}")
    with state.trying(), state.trying():
        assert state.note_failure(OSError("no route")) == state.trouble == "away: no route"
    with state.trying():
        with pytest.raises(StorageError, match="away: no route") as refused, state.trying():
            pytest.fail("two threads try it")
        assert (refused.value.away, refused.value.unknown) == (True, False)
        state.note_answer()
    assert state.trouble == ""
    with state.trying(), state.trying():
        pass
