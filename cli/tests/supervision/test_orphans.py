"""Processes that a process of a node leaves behind, under a real supervisor. A shell script stands in for one that
runs policies: it starts others in all the ways in which they get away from their parent.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from gatewright_cli.supervision import orphans, prctl
from gatewright_cli.supervision.orphans import MARK, Orphans, kill_left_by

from cli.tests.test_main import LIMIT_SECONDS, engine_pid, run_arguments, running, until

if TYPE_CHECKING:
    from cli.tests.conftest import Bench

DEAF = "trap '' TERM HUP INT; while [ -d FOLDER ]; do sleep 0.2; done"
"""Ends with the test's folder, unless it was ended before."""
LEAVES = f"""#!/bin/sh
cd FOLDER
setsid sh -c 'echo $$ > session; {DEAF}' &
sh -c 'setsid sh -c "echo \\$\\$ > daemon; {DEAF}" & while [ ! -s daemon ]; do :; done'
sh -c 'sh -c "echo \\$\\$ > short; exit 0" & while [ ! -s short ]; do :; done'
setsid sh -c 'sh -c "echo \\$\\$ > below; {DEAF}" & echo $$ > above; wait' &
exec sleep 600
"""


def pid(bench: Bench, name: str) -> int:
    file = bench.folder / name
    until(lambda: file.exists() and file.read_text().strip())
    return int(file.read_text())


def arguments(bench: Bench) -> list[str]:
    return run_arguments(bench.folder, LEAVES.replace("FOLDER", str(bench.folder)))


def test_what_leaves_its_parent_ends_soon_and_the_rest_with_its_process(bench: Bench) -> None:
    with running(arguments(bench)) as process:
        assert bench.alive(pid(bench, "session"))
        daemon, short = pid(bench, "daemon"), pid(bench, "short")
        until(lambda: not bench.exists(daemon) and not bench.exists(short))
        stays = [pid(bench, name) for name in ("session", "above", "below")]
        engine = engine_pid(bench.folder)
        assert [bench.alive(number) for number in stays] == [True] * 3
        assert engine is not None
        for name in ("session", "daemon", "short", "above", "below"):
            (bench.folder / name).unlink()
        os.kill(engine, signal.SIGKILL)
        until(lambda: not any(bench.exists(number) for number in stays))
        until(lambda: engine_pid(bench.folder) not in {None, engine})
        again = [pid(bench, name) for name in ("session", "above", "below")]
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_SECONDS) == 0
        assert not any(bench.exists(number) for number in again)


def test_children_from_before_the_run_stay(bench: Bench) -> None:
    """As a script that has something in the background and ends with `exec gatewright run`."""
    command = ["sh", "-c", 'sleep 600 & echo $!; exec "$@"', "sh", sys.executable, "-m", "gatewright_cli"]
    process = subprocess.Popen(
        [*command, *arguments(bench)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        own = int(process.stdout.readline())
        daemon = pid(bench, "daemon")
        until(lambda: not bench.exists(daemon))
        assert bench.alive(own)
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_SECONDS) == 0
        assert bench.alive(own)
        os.kill(own, signal.SIGKILL)
    finally:
        process.kill()
        process.communicate(timeout=LIMIT_SECONDS)


@pytest.mark.parametrize("requested", [True, False], ids=["in the same directory", "in one of its own"])
def test_what_a_killed_run_left_is_ended_by_the_next(bench: Bench, requested: bool) -> None:
    options = arguments(bench)
    home = {**os.environ, "XDG_RUNTIME_DIR": str(bench.folder)}
    if not requested:
        at = options.index("--run-dir")
        del options[at : at + 2]
    with running(options, home) as process:
        left = [pid(bench, name) for name in ("session", "above", "below")]
        process.kill()
        process.wait(LIMIT_SECONDS)
        assert bench.alive(left[0])
    other = bench.folder / "other"
    other.mkdir()
    for name in ("session", "daemon", "short", "above", "below"):
        (bench.folder / name).unlink(missing_ok=True)
    with running(options, home):
        until(lambda: not any(bench.alive(number) for number in left))


CHAIN = """
import os, time
file = os.open(FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
while os.path.exists(FILE) and time.time() < UNTIL:
    os.write(file, b".")
    if os.fork():
        os._exit(0)
    os.setsid()
"""


def test_what_forks_and_ends_all_the_time_ends_too(bench: Bench) -> None:
    """Each of its pids is gone before the supervisor can act on it."""
    grows = bench.folder / "grows"
    (bench.folder / "chain.py").write_text(
        CHAIN.replace("FILE", repr(str(grows))).replace("UNTIL", str(time.time() + 120))
    )
    engine = f"#!/bin/sh\n{sys.executable} {bench.folder}/chain.py &\nexec sleep 600\n"
    with running(run_arguments(bench.folder, engine)) as process:
        until(lambda: grows.exists() and grows.stat().st_size > 2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_SECONDS) == 0
        size = grows.stat().st_size
        assert subprocess.run(["pgrep", "-f", f"{bench.folder}/chain.py"], check=False).returncode == 1
        assert grows.stat().st_size == size


def test_what_a_run_left_is_found_by_its_mark_or_its_arguments(bench: Bench) -> None:
    """A fork of an executor does not show its variables, but its arguments."""
    run, named = bench.folder / "run", bench.folder / "run" / "peers" / "peers.json"
    command = (sys.executable, "-c", "import signal; print(flush=True); signal.pause()")
    started = [
        subprocess.Popen([*command, *more], env={MARK: mark}, stdout=subprocess.PIPE)
        for more, mark in (([], str(run)), ([str(named)], ""), ([str(run)], f"{run}2"), ([f"{named}2"], ""))
    ]
    try:
        for process in started:
            assert process.stdout is not None
            process.stdout.readline()
        assert sorted(kill_left_by(run, named)) == sorted(process.pid for process in started[:2])
        assert [process.wait(LIMIT_SECONDS) for process in started[:2]] == [-signal.SIGKILL] * 2
        assert [process.poll() for process in started[2:]] == [None, None]
    finally:
        for process in started:
            process.kill()
            process.communicate()


def test_an_own_process_that_the_kernel_once_leaves_out_of_its_list_is_no_orphan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The list is not reliable while children are reaped (proc(5))."""
    monkeypatch.setattr(prctl, "adopt_orphans", lambda: None)
    own = Orphans()
    own.adopt()
    process = subprocess.Popen(["sleep", "60"])
    try:
        own.on_pid("engine", process.pid)
        with monkeypatch.context() as once:
            once.setattr(orphans, "_children", list)
            own.kill_all()
        assert not own.kill_all()
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    own.kill_all()
    assert process.pid not in own._own
