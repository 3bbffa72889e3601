from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

import pytest
from gatewright_cli.isolation import executor_users
from gatewright_cli.isolation.executor_users import ExecutorUsers, IsolationError, missing_capabilities


def test_a_group_has_the_same_user_in_each_run() -> None:
    first, second = ExecutorUsers(), ExecutorUsers()
    assert first.uid("default") == second.uid("default") == first.uid("default")
    assert 61184 <= first.uid("default") <= 65519


def test_no_two_groups_have_one_user_however_small_the_range() -> None:
    users = ExecutorUsers(61184, 61187)
    assert {users.uid(group) for group in ("a", "b", "c", "d")} == {61184, 61185, 61186, 61187}
    with pytest.raises(IsolationError, match=r"between 61184 and 61187 for the group e: give a larger range"):
        users.uid("e")


def test_a_user_in_the_database_is_not_taken() -> None:
    first = max(user.pw_uid for user in pwd.getpwall() if user.pw_uid < 60_000)
    assert ExecutorUsers(first, first + 1).uid("a") == first + 1


@pytest.mark.skipif(os.getuid() != 0, reason="needs to be root")
def test_a_user_with_running_processes_is_not_taken() -> None:
    with subprocess.Popen(["setpriv", "--reuid=61190", "--clear-groups", "cat"], stdin=subprocess.PIPE) as process:
        while Path(f"/proc/{process.pid}").stat().st_uid != 61190:
            assert process.poll() is None
        assert ExecutorUsers(61190, 61191).uid("a") == 61191
        process.kill()


def test_missing_capabilities_are_those_of_the_kernel() -> None:
    lacks = missing_capabilities()
    assert set(lacks) <= set(executor_users.NEEDED)
    if os.getuid() != 0:
        assert "CAP_SETUID" in lacks
