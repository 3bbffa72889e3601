from __future__ import annotations

import os
import pwd
from collections.abc import Callable

import pytest
from gatewright_cli.isolation import executor_users
from gatewright_cli.isolation.executor_users import ExecutorUsers, IsolationError, missing_capabilities


def known(uids: set[int]) -> Callable[[int], object]:
    """A user database that has these."""

    def getpwuid(uid: int) -> object:
        if uid not in uids:
            raise KeyError(uid)
        return uid

    return getpwuid


def test_a_group_has_the_same_user_in_each_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pwd, "getpwuid", known(set()))
    first, second = ExecutorUsers(), ExecutorUsers()
    assert first.uid("default") == second.uid("default") == first.uid("default")
    assert 61184 <= first.uid("default") <= 65519


def test_no_two_groups_have_one_user_however_small_the_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pwd, "getpwuid", known(set()))
    users = ExecutorUsers(61184, 61187)
    assert {users.uid(group) for group in ("a", "b", "c", "d")} == {61184, 61185, 61186, 61187}
    with pytest.raises(IsolationError, match=r"between 61184 and 61187 for the group e: give a larger range"):
        users.uid("e")


def test_a_user_that_somebody_has_is_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pwd, "getpwuid", known({61184}))
    monkeypatch.setattr(executor_users, "_running", lambda: iter([61185]))
    assert ExecutorUsers(61184, 61186).uid("a") == 61186


def test_what_this_process_lacks_is_what_the_kernel_says() -> None:
    lacks = missing_capabilities()
    assert set(lacks) <= set(executor_users.NEEDED)
    if os.getuid() != 0:
        assert "CAP_SETUID" in lacks
