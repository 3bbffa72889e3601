"""The executor as the supervisor starts it: a process, a socket, signals."""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import IO

import gatewright_executor
import pytest
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.testing import Engine, eventually, request_execution

Start = Callable[..., "subprocess.Popen[str]"]
SOURCE = Path(gatewright_executor.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(SOURCE).with_suffix("").parts) for path in SOURCE.rglob("*.py") if path.stem != "__init__"
)
SAMPLE = """
from typing import Any
from sdk.policy import RequestAction, RequestContext, ResponseAction, ResponseContext, UpstreamRequestModifications

def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
    return UpstreamRequestModifications(set_headers={"X-Custom": "value"})

def on_response(ctx: ResponseContext, params: dict[str, Any]) -> ResponseAction:
    return None
"""
SLOW = """
import threading, time
from pathlib import Path
def on_request(ctx, params):
    print("started")
    while not Path(__file__).with_name("end").exists():
        time.sleep(0.005)
threading.Thread(target=threading.Event().wait).start()
"""
WAITS = """
import asyncio
tasks = []
async def on_request(ctx, params):
    tasks.append(asyncio.create_task(asyncio.Event().wait()))
    await asyncio.sleep(0)
"""

PRIVATE = """
import ctypes
from gatewright.action import UpstreamRequestModifications
def on_request(ctx, params):
    return UpstreamRequestModifications(set_headers={"x-dumpable": str(ctypes.CDLL(None).prctl(3))})
"""

HOLDS = """
import re
def on_request(ctx, params):
    re.match(r"(a+)+$", "a" * 40 + "b")  # never ends, and never lets go of the interpreter
"""

SIGNALS = """
import signal, threading
def on_request(ctx, params):
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
"""


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """A build output's python-executor folder."""
    folder = tmp_path / "python-executor"
    sources = {"sample": SAMPLE, "slow": SLOW, "waits": WAITS, "private": PRIVATE, "signals": SIGNALS, "holds": HOLDS}
    for name, source in sources.items():
        policy = folder / "policies" / f"{name}_v1_0_0"
        policy.mkdir(parents=True)
        (policy / "policy.py").write_text(source)
    registry = {f"{name}:v1.0.0": f"policies.{name}_v1_0_0.policy" for name in sources}
    (folder / "python_policy_registry.py").write_text(f"PYTHON_POLICIES: dict[str, str] = {registry!r}\n")
    (folder / "main.py").write_text("from gatewright_executor.main import main\n\nmain()\n")
    return folder


@pytest.fixture
def start(build: Path, tmp_path: Path) -> Iterator[Start]:
    """start(*arguments) → the process, once its socket is there; run from another folder than its own."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str, ready: bool = True, passed: Collection[int] = ()) -> "subprocess.Popen[str]":
        command = [sys.executable, str(build / "main.py"), "--listen", f"unix:{tmp_path}/s.sock", *arguments]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, cwd=tmp_path, stderr=pipe, stdout=pipe, text=True, pass_fds=passed)
        processes.append(process)
        assert not ready or eventually(lambda: (tmp_path / "s.sock").exists() or process.poll() is not None)
        assert process.poll() is None or not ready, process.communicate()
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_the_sample_of_the_contract_runs_verbatim(start: Start, tmp_path: Path) -> None:
    process = start("--workers", "3")
    with Engine(tmp_path / "s.sock") as engine:
        assert (engine.hello.pid, engine.hello.workers) == (process.pid, 3)
        engine.configure(1, "sample:v1.0.0")
        assert engine.execute(request_execution(1)) == pb.Action(id=1, set_headers=b"x-custom\0value\0")


def until(word: str, stream: IO[str]) -> Iterator[str]:
    """Lines, up to the first that has `word`."""
    for line in stream:
        yield line
        if word in line:
            return


def test_a_stack_is_written_although_a_policy_holds_the_interpreter(start: Start, tmp_path: Path) -> None:
    with (tmp_path / "stacks").open("w+b") as stacks:
        process = start("--stacks", f"fd:{stacks.fileno()}", passed=[stacks.fileno()])
        with Engine(tmp_path / "s.sock") as engine:
            engine.configure(1, "holds:v1.0.0")
            engine.send(request_execution(1))

            def is_located() -> bool:
                for thread in Path(f"/proc/{process.pid}/task").iterdir():
                    _signal_thread(process.pid, int(thread.name), signal.SIGUSR2)
                return '/holds_v1_0_0/policy.py", line 4 in on_request' in (tmp_path / "stacks").read_text()

            assert eventually(is_located), (tmp_path / "stacks").read_text()
            process.kill()


def _signal_thread(pid: int, thread: int, number: signal.Signals) -> None:
    call = {"x86_64": 234, "aarch64": 131}[os.uname().machine]  # tgkill
    ctypes.CDLL(None).syscall(call, pid, thread, int(number))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_what_is_under_way_finish(
    start: Start, build: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """Even with a thread of a policy that never ends; and nothing is left of the socket."""
    process = start()
    with Engine(tmp_path / "s.sock") as engine:
        engine.configure(1, "slow:v1.0.0")
        engine.configure(2, "waits:v1.0.0")
        engine.execute(request_execution(2, 2))
        engine.send(request_execution(1))
        engine.wait(lambda: engine.health().workers_busy)
        process.send_signal(number)
        assert process.stderr is not None
        begun = [*until("stopping", process.stderr)]
        (build / "policies" / "slow_v1_0_0" / "end").touch()
        assert engine.action(1) == pb.Action(id=1)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "")
    lines = [json.loads(line) for line in [*begun, *err.splitlines()]]
    messages = [line["message"].split(" on ")[0] for line in lines]
    assert sorted(messages[:2]) == ["serving 6 policies", "started"]  # an engine may be quicker than the log
    assert messages[2:] == ["stopping: executions under way have 10 s to end", "stopped"]
    assert lines[messages.index("started")]["requestId"] == "request-1"
    assert not (tmp_path / "s.sock").exists()


def test_a_signal_counts_whichever_thread_the_kernel_gives_it_to(start: Start, tmp_path: Path) -> None:
    process = start()
    with Engine(tmp_path / "s.sock") as engine:
        engine.configure(1, "signals:v1.0.0")
        engine.execute(request_execution(1))
        _, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert json.loads(err.splitlines()[-1])["message"] == "stopped"


def test_a_process_of_the_same_user_cannot_look_into_it(start: Start, tmp_path: Path) -> None:
    """Asks prctl(2), PR_GET_DUMPABLE, inside: the tests may run as root, which may look into everything."""
    start()
    with Engine(tmp_path / "s.sock") as engine:
        engine.configure(1, "private:v1.0.0")
        assert engine.execute(request_execution(1)) == pb.Action(id=1, set_headers=b"x-dumpable\x000\0")


@pytest.mark.parametrize(("known", "admitted"), [('{{"engine": {}}}', True), ('{{"envoy": {}}}', False), ("", False)])
def test_only_processes_that_the_file_names_are_admitted(
    start: Start, tmp_path: Path, known: str, admitted: bool
) -> None:
    file = tmp_path / "peers.json"
    if known:
        file.write_text(known.format(os.getpid()))
    process = start("--peers", str(file))
    if admitted:
        with Engine(tmp_path / "s.sock") as engine:
            assert engine.hello.pid == process.pid
        return
    with socket.socket(socket.AF_UNIX) as other:
        other.settimeout(20)
        assert eventually(lambda: other.connect_ex(str(tmp_path / "s.sock")) == 0)  # it is there before it listens
        assert other.recv(1) == b""
    process.terminate()
    _, err = process.communicate(timeout=20)
    assert f"connection refused: pid {os.getpid()}: " in err


def test_a_killed_process_leaves_a_socket_that_the_next_one_replaces(start: Start, tmp_path: Path) -> None:
    first = start()
    first.kill()
    first.wait(30)
    assert (tmp_path / "s.sock").exists()
    second = start()
    with Engine(tmp_path / "s.sock") as engine:
        assert engine.hello.pid == second.pid


@pytest.mark.parametrize(("arguments", "code", "sentence"), [
    (["--registry", "none.py"], 1, "cannot start: expected the generated python_policy_registry.py at none.py"),
    (["--listen", "unix:missing/s.sock"], 1, "cannot start: expected a folder at missing"),
    (["--listen", "tcp:1"], 2, "expected unix:PATH or fd:N, got tcp:1"),
    (["--workers", "0"], 2, "expected a whole number from 1, got 0"),
    (["--workers", "8", "--max-workers", "7"], 2, "--max-workers: expected at least --workers, 8, got 7"),
])  # fmt: skip
def test_what_it_cannot_start_with(start: Start, arguments: list[str], code: int, sentence: str) -> None:
    process = start(*arguments, ready=False)
    _, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert sentence in err


IMPORTS_EACH = """
import importlib, os, sys, traceback
import asyncio, google.protobuf.descriptor_pool, hpack, logging  # what is not ours, loaded once for all
broken = []
for name in sys.argv[1:]:
    if (child := os.fork()) == 0:
        try:
            importlib.import_module(name)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    if os.waitpid(child, 0)[1]:
        broken.append(name)
sys.exit(f"cannot be imported alone: {broken}" if broken else 0)
"""


def test_every_module_imports_alone_from_anywhere(tmp_path: Path) -> None:
    """Each is imported in a new child of a process that has imported nothing of the executor."""
    names = [f"gatewright_executor.{module}" for module in MODULES]
    command = [sys.executable, "-W", "error", "-c", IMPORTS_EACH, *names]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_build_installs_what_the_distribution_needs() -> None:
    root = SOURCE.parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    wanted = [line for line in (root / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert [f"{name}" for name in project["dependencies"] if name != "gatewright-sdk"] == wanted
