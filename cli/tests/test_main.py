"""The command as a person meets it: a process, its streams, its exit status."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
from gatewright_cli.main import cli
from gatewright_cli.run.stop_signals import REPEAT_SECONDS

from cli.tests.conftest import NO_MORE_THAN_A_USER

if TYPE_CHECKING:
    from cli.tests.conftest import Bench

COMMAND = (sys.executable, "-m", "gatewright_cli")
LIMIT_SECONDS = 60.0
NEVER_READY = "#!/bin/sh\necho working >&2\nexec sleep 600\n"
FAILS = "#!/bin/sh\necho 'no such flag: --colour' >&2\nexit 2\n"
DEAF = "#!/bin/sh\ntrap '' TERM\necho deaf >&2\nwhile :; do sleep 0.05; done\n"


def gatewright(
    *arguments: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = (*COMMAND, *arguments)
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS, cwd=cwd, env=env)


def build_output(folder: Path, engine: str) -> Path:
    """A build output without Python policies whose engine is a program of ours."""
    (folder / "build" / "bin").mkdir(parents=True)
    (folder / "build" / "manifest.json").write_text('{"version": 1, "policies": []}')
    (folder / "build" / "bin" / "policy-engine").write_text(engine)
    (folder / "build" / "bin" / "policy-engine").chmod(0o755)
    return folder / "build"


def run_arguments(folder: Path, engine: str) -> list[str]:
    return [
        "run", "--build", str(build_output(folder, engine)), "--no-controller", "--port", "0",
        "--state-dir", str(folder / "state"), "--run-dir", str(folder / "run"),
    ]  # fmt: skip


@contextmanager
def running(
    arguments: list[str], env: Mapping[str, str] | None = None, within: Sequence[str] = ()
) -> Iterator[subprocess.Popen[str]]:
    command = (*within, *COMMAND, *arguments)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=LIMIT_SECONDS)


def status(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "run" / "status.json").read_text())
    return content


def engine_pid(folder: Path) -> int | None:
    try:
        pid: int | None = next(process["pid"] for process in status(folder)["processes"] if process["name"] == "engine")
    except FileNotFoundError:
        return None
    return pid


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.01)


def test_version() -> None:
    done = gatewright("version")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["gatewright", "envoy", "python"]


def test_version_as_an_option() -> None:
    done = gatewright("--version")
    assert (done.returncode, done.stdout) == (0, gatewright("version").stdout.splitlines()[0] + "\n")


def test_an_unknown_command_lists_the_known_ones() -> None:
    unknown = gatewright("aply")
    assert unknown.returncode == 2
    assert "expected a command (apply, attach, audit, backup, build, " in unknown.stderr
    assert unknown.stderr.rstrip().endswith("), got aply")


def test_each_module_of_a_command_has_one_of_its_name() -> None:
    context = click.Context(cli)
    names = cli.list_commands(context)
    assert {"apply", "import", "log-level", "run"} <= set(names)
    assert [command.name for name in names if (command := cli.get_command(context, name))] == names


def test_a_taken_port_is_one_sentence_and_nothing_is_started(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = gatewright(*run_arguments(bench.folder, FAILS), "--port", str(port))
    program = Path("/proc/self/comm").read_text().strip()
    assert done.returncode == 1
    assert done.stderr == (
        f"error: port {port} on 127.0.0.1 is taken (by {program}, pid {os.getpid()}): choose another with --port\n"
    )
    assert done.stdout == ""
    assert not (bench.folder / "run").exists()


def test_several_mistakes_are_named_at_once(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = gatewright(
            "run", "--build", "no-build", "--port", str(server.getsockname()[1]), "--controller-port", "0",
            "--apis", "no.yaml", "--bootstrap", "no-bootstrap", "--colour", "red", cwd=bench.folder,
        )  # fmt: skip
    lines = done.stderr.splitlines()
    assert done.returncode == 1
    assert all(line.startswith("error: ") for line in lines)
    words = [
        "is taken",
        "unknown option '--colour'",
        "no.yaml: No such file",
        "not at no-bootstrap",
        "no-build is no build",
    ]
    assert [word for word, line in zip(words, lines, strict=True) if word not in line] == []


def test_a_build_that_fails_is_sentences_too(bench: Bench) -> None:
    done = gatewright("build", "--manifest", "no.yaml", cwd=bench.folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: no.yaml: ")
    assert "Traceback" not in done.stderr


def test_an_engine_that_cannot_start(bench: Bench) -> None:
    done = gatewright(*run_arguments(bench.folder, FAILS))
    assert (done.returncode, done.stdout) == (1, "")
    report = done.stderr.splitlines()[-4:]
    assert report[:2] == ["error: engine did not start: exited with code 2", "  │ no such flag: --colour"]
    assert report[2].startswith(f"  its command: {bench.folder}/build/bin/policy-engine --manifest ")
    assert report[3].endswith("another --state-dir starts without one.")
    assert not (bench.folder / "run").exists()


def test_as_json_every_line_of_the_log_is_an_object(bench: Bench) -> None:
    done = gatewright(*run_arguments(bench.folder, FAILS), "--log-format", "json")
    records = [json.loads(line) for line in done.stderr.splitlines()]
    assert {record["component"] for record in records} == {"supervisor", "policy-engine"}
    assert records[-1]["level"] == "error"
    assert records[-1]["message"].startswith("engine did not start: exited with code 2\n  │ no such flag")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_of_a_start_stops_in_order_and_leaves_nothing(bench: Bench, number: int) -> None:
    with running(run_arguments(bench.folder, NEVER_READY)) as process:
        until(lambda: engine_pid(bench.folder))
        found, pid = status(bench.folder), engine_pid(bench.folder)
        assert (found["state"], found["pid"], found["version"]) == ("starting", process.pid, 1)
        assert [entry["name"] for entry in found["processes"]] == ["engine", "envoy"]
        assert found["processes"][1] == {
            "name": "envoy", "state": "waiting", "pid": None, "restarts": 0, "restartedAt": [],
            "listen": found["url"].removeprefix("http://"), "leaving": False,
            "sockets": [f"{bench.folder}/run/envoy-admin.sock"],
        }  # fmt: skip
        for option in ("--json", "--healthcheck"):
            assert gatewright("status", option, "--run-dir", str(bench.folder / "run")).returncode == 1
        process.send_signal(signal.SIGHUP)  # it asks for a reload, later
        process.send_signal(number)
        assert process.wait(LIMIT_SECONDS) == 0
        assert not bench.alive(pid)
        assert not (bench.folder / "run").exists()


def test_signals_that_ask_for_no_stop_end_nothing(bench: Bench) -> None:
    with running([*run_arguments(bench.folder, NEVER_READY), "--log-format", "json"]) as process:
        until(lambda: engine_pid(bench.folder))
        for name in ("SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGIO", "SIGPWR"):
            process.send_signal(signal.Signals[name])
            logged_at(process, "log files reopened" if name == "SIGUSR1" else f"{name} is ignored")
        assert (process.poll(), bench.alive(engine_pid(bench.folder))) == (None, True)
        process.send_signal(signal.SIGQUIT)
        logged_at(process, "stopping (send the signal again to force it)")
        assert process.wait(LIMIT_SECONDS) == 0


def test_its_own_log_is_rotated(bench: Bench) -> None:
    log, old = bench.folder / "run.log", bench.folder / "run.log.1"
    with log.open("ab") as file:
        process = subprocess.Popen((*COMMAND, *run_arguments(bench.folder, NEVER_READY)), stderr=file)
    try:
        until(lambda: engine_pid(bench.folder))
        log.rename(old)
        process.send_signal(signal.SIGUSR1)
        until(lambda: log.exists() and "log files reopened" in log.read_text())
        process.terminate()
        assert process.wait(LIMIT_SECONDS) == 0
    finally:
        process.kill()
        process.wait(LIMIT_SECONDS)
    assert "starting" in old.read_text()
    assert log.read_text().rstrip().endswith("stopped")


def test_a_second_signal_forces_it(bench: Bench) -> None:
    with running([*run_arguments(bench.folder, DEAF), "--log-format", "json"]) as process:
        logged_at(process, "deaf")
        pid = engine_pid(bench.folder)
        process.send_signal(signal.SIGINT)
        stopping = logged_at(process, "stopping (send the signal again to force it)")
        assert bench.alive(pid)

        # Those that come at once are parts of the first.
        until(lambda: not bench.alive(pid) or process.send_signal(signal.SIGINT))  # type: ignore[func-returns-value]
        assert (logged_at(process, "stopping by force") - stopping).total_seconds() > REPEAT_SECONDS / 2
        assert process.wait(LIMIT_SECONDS) == 130


def logged_at(process: subprocess.Popen[str], message: str) -> datetime:
    """When it logged that; waits until it has."""
    assert process.stderr is not None
    for line in process.stderr:
        record = json.loads(line)
        if record["message"] == message:
            return datetime.fromisoformat(record["time"])
    raise AssertionError(f"it ended, and has not logged {message!r}")


def test_nothing_outlives_a_killed_supervisor(bench: Bench) -> None:
    with running(run_arguments(bench.folder, NEVER_READY)) as process:
        until(lambda: engine_pid(bench.folder))
        pid = engine_pid(bench.folder)
        process.kill()
        until(lambda: not bench.alive(pid))


READS = """
import os, sys
for name, look in {"environ": open, "mem": open, "fd/0": os.readlink, "maps": open}.items():
    try:
        look(f"/proc/{sys.argv[1]}/{name}")
        print(name, "read")
    except PermissionError:
        print(name, "refused")
"""


def test_a_process_of_the_same_user_cannot_look_into_the_supervisor(bench: Bench) -> None:
    arguments = run_arguments(bench.folder, NEVER_READY)
    with running(arguments, within=NO_MORE_THAN_A_USER) as process:
        until(lambda: engine_pid(bench.folder))
        command = (*NO_MORE_THAN_A_USER, sys.executable, "-c", READS, str(process.pid))
        found = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=True)
    assert found.stdout.split("\n")[:-1] == ["environ refused", "mem refused", "fd/0 refused", "maps refused"]


def test_a_bootstrap_with_unknown_fields(bench: Bench) -> None:
    (bench.folder / "bootstrap.yaml").write_text("node: {id: $colour}")
    done = gatewright(*run_arguments(bench.folder, FAILS), "--bootstrap", str(bench.folder / "bootstrap.yaml"))
    assert done.returncode == 1
    assert "error: " in done.stderr
    assert "unknown fields $colour" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (bench.folder / "run").exists()


def test_a_state_directory_in_use(bench: Bench) -> None:
    arguments = run_arguments(bench.folder, NEVER_READY)
    with running(arguments) as process:
        until(lambda: engine_pid(bench.folder))
        done = gatewright(*arguments)
    assert done.returncode == 1
    assert f"is in use (by gatewright, pid {process.pid})" in done.stderr


def test_the_status_of_no_node(bench: Bench) -> None:
    done = gatewright("status", "--run-dir", str(bench.folder))
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: no node runs in {bench.folder} (status.json: No such file or directory)")


def test_the_status_of_the_node_of_a_folder(bench: Bench) -> None:
    """Its state directory is there; it has no manifest."""
    home = {**os.environ, "XDG_RUNTIME_DIR": str(bench.folder)}
    arguments = [word for word in run_arguments(bench.folder, NEVER_READY) if word not in given_run_dir(bench.folder)]
    with running(arguments, home) as process:
        until(lambda: [*bench.folder.glob("gatewright-*/status.json")])
        found = gatewright("status", "--json", env=home, cwd=bench.folder)
        assert json.loads(found.stdout)["pid"] == process.pid
        (run_dir,) = bench.folder.glob("gatewright-*")
        named = gatewright("status", "--json", env={**home, "GATEWRIGHT_RUN_DIR": str(run_dir)}, cwd=Path("/"))
        assert json.loads(named.stdout)["pid"] == process.pid
        elsewhere = gatewright("reload", env=home, cwd=Path("/"))
        process.kill()
        process.wait(LIMIT_SECONDS)
        none = gatewright("status", env=home, cwd=bench.folder)
    assert (elsewhere.returncode, elsewhere.stdout) == (1, "")
    assert elsewhere.stderr == (
        "error: expected a run whose manifest or state directory is in / or above it, got 1 of another folder:\n"
        f"  state directory {bench.folder}/state, started in {Path.cwd()}: --run-dir {run_dir}\n"
        "go to its folder, or name it with --run-dir or GATEWRIGHT_RUN_DIR\n"
    )
    assert none.stderr == (
        f"error: expected a run with its directory below {bench.folder}, got none: "
        "start one with `gatewright run`, or name its directory with --run-dir or GATEWRIGHT_RUN_DIR\n"
    )


def test_the_environment_names_the_directory_of_a_run(bench: Bench) -> None:
    arguments = [word for word in run_arguments(bench.folder, NEVER_READY) if word not in given_run_dir(bench.folder)]
    with running(arguments, {**os.environ, "GATEWRIGHT_RUN_DIR": str(bench.folder / "run")}) as process:
        until(lambda: (bench.folder / "run" / "status.json").exists())
        assert status(bench.folder)["pid"] == process.pid


def test_what_a_killed_run_left_is_taken_away_by_the_next(bench: Bench) -> None:
    home = {**os.environ, "XDG_RUNTIME_DIR": str(bench.folder)}
    arguments = [word for word in run_arguments(bench.folder, NEVER_READY) if word not in given_run_dir(bench.folder)]
    with running(arguments, home) as process:
        until(lambda: [*bench.folder.glob("gatewright-*/status.json")])
        left = next(bench.folder.glob("gatewright-*"))
        process.kill()
        process.wait(LIMIT_SECONDS)
    with running(arguments, home):
        until(lambda: not left.exists())


def given_run_dir(folder: Path) -> tuple[str, str]:
    return "--run-dir", str(folder / "run")


def test_echo_refuses_an_invalid_address() -> None:
    done = gatewright("echo", "--listen", "8080")
    assert (done.returncode, done.stderr) == (1, "error: --listen: expected HOST:PORT, got '8080'\n")
