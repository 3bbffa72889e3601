from __future__ import annotations

import os
import subprocess
import sys

import pytest
from gatewright_cli.supervision.launch_plan import LAUNCHER, LONGEST_ARGUMENT, launch_command
from hypothesis import given, settings
from hypothesis import strategies as st

PLANS = st.dictionaries(st.text(max_size=8), st.text(max_size=20) | st.integers() | st.lists(st.text(max_size=8)))


@settings(deadline=None)
@given(PLANS, st.sampled_from(["normal", "batch"]))
def test_the_pieces_are_the_plan(sandbox: dict[str, object], scheduling: str) -> None:
    words = launch_command(("/bin/true", "a"), scheduling, [(7, 3)], sandbox)  # type: ignore[arg-type]
    at = words.index(str(LAUNCHER)) + 1
    count = int(words[at])
    plan = eval("".join(words[at + 1 : at + 1 + count]), {"__builtins__": {}})  # noqa: S307 - as launch.py does
    assert plan == {"parent": os.getpid(), "scheduling": scheduling, "descriptors": [(7, 3)], "sandbox": sandbox}
    assert words[at + 1 + count :] == ("/bin/true", "a")


def test_a_plan_that_is_longer_than_an_argument_may_be_comes_whole() -> None:
    program = ("/bin/sh", "-c", "echo $$")
    long: dict[str, object] = {
        "limits": {},
        "user": None,
        "privileges": True,
        "reads": [],
        "landlock": None,
        "seccomp": None,
    }
    words = launch_command(program, sandbox={**long, "named": ["/x" * LONGEST_ARGUMENT]})
    assert max(map(len, words)) <= LONGEST_ARGUMENT
    assert subprocess.run(words, capture_output=True, check=True).stdout.strip().isdigit()


def test_a_program_that_is_not_there_is_named() -> None:
    done = subprocess.run(launch_command(("/no/such/program",)), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (126, "cannot execute /no/such/program: No such file or directory\n")


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="Linux")
def test_it_has_the_scheduling_and_the_descriptors_of_the_plan() -> None:
    read, write = os.pipe()
    program = "import os; os.write(3, str(os.sched_getscheduler(0)).encode())"
    subprocess.run(
        launch_command((sys.executable, "-c", program), "batch", [(write, 3)]), pass_fds=(write,), check=True
    )
    assert os.read(read, 10) == str(os.SCHED_BATCH).encode()
    os.close(read)
    os.close(write)
