"""A real engine's side of the stream against a real server, over a Unix socket."""

import socket
import stat
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.grpc.listener import SocketError
from gatewright_executor.running.limits import Limits
from gatewright_executor.server import SERVICE, Server
from gatewright_executor.testing import Engine, configuration, request_execution, response_execution

Start = Callable[..., Engine]
ADD = """
    from gatewright.policy import UpstreamRequestModifications, UpstreamResponseModifications

    def on_request(ctx, params):
        return UpstreamRequestModifications(set_headers={"X-Policy": params.get("value", "on")})

    def on_response(ctx, params):
        return UpstreamResponseModifications(set_headers={"X-Status": str(ctx.status_code)})
"""
GATE = """
    import threading
    from gatewright.policy import UpstreamRequestModifications

    started, gate = threading.Semaphore(0), threading.Event()

    def on_request(ctx, params):
        started.release()
        assert gate.wait(30)
"""


def module_of(name: str) -> object:
    """The policy module that a test's executor, which runs in this process, has imported."""
    return sys.modules[
        max((key for key in sys.modules if key.endswith(f".{name}") and key.startswith("policies_")), key=_age)
    ]


def _age(module: str) -> int:
    return int(module.partition(".")[0].removeprefix("policies_"))


class Gate:
    """The policy GATE of the test that runs."""

    def __init__(self) -> None:
        module = module_of("gate")
        self.started: threading.Semaphore = vars(module)["started"]
        self.event: threading.Event = vars(module)["gate"]

    def wait_started(self, count: int = 1) -> None:
        for _ in range(count):
            assert self.started.acquire(timeout=30)

    def open(self) -> None:
        self.event.set()


def test_hello_names_the_process_and_its_policies(start_engine: Start) -> None:
    hello = start_engine(add=ADD, gate=GATE, bad="def on_request(ctx, params: syntax error").hello
    policies = {policy.name: policy for policy in hello.policies}
    assert (hello.workers, hello.sdk_version) == (4, "0.1.0")
    assert hello.python_version.startswith("3.")
    assert (policies["add"].on_request, policies["add"].on_response) == (True, True)
    assert (policies["gate"].on_request, policies["gate"].on_response) == (True, False)
    assert policies["bad"].failure.hook == "import"
    assert policies["bad"].failure.message.startswith("SyntaxError: ")
    assert "bad.py:1)" in policies["bad"].failure.message


def test_both_phases(start_engine: Start) -> None:
    engine = start_engine(add=ADD)
    assert not engine.configure(1, "add:v1.0.0", {"value": "yes"}).HasField("failure")
    assert engine.execute(request_execution(1)) == pb.Action(id=1, set_headers=b"x-policy\0yes\0")
    assert engine.execute(response_execution(2, status=404)) == pb.Action(id=2, set_headers=b"x-status\x00404\0")


def test_a_phase_without_a_function_passes_through(start_engine: Start) -> None:
    engine = start_engine(gate=GATE)
    engine.configure(1, "gate:v1.0.0")
    assert engine.execute(response_execution(1)) == pb.Action(id=1)


def test_an_unknown_phase_is_no_pass_through(start_engine: Start) -> None:
    engine = start_engine(add=ADD)
    engine.configure(1, "add:v1.0.0")
    execution = request_execution(1)
    execution.phase = pb.PHASE_UNSPECIFIED
    assert engine.execute(execution).failure.failure_class == pb.FAILURE_CLASS_EXCEPTION


def test_configure_and_executions_in_one_frame(start_engine: Start) -> None:
    engine = start_engine(add=ADD)
    engine.send(*map(request_execution, range(1, 101)), configure=[configuration(1, "add:v1.0.0")])
    engine.wait(lambda: len(engine.actions) == 100)
    assert {action.id for action in engine.actions} == {*range(1, 101)}
    engine.wait(lambda: engine.acknowledged == 1)


def test_frames_are_acknowledged_before_they_are_answered(start_engine: Start) -> None:
    engine = start_engine(gate=GATE)
    engine.configure(1, "gate:v1.0.0")
    gate = Gate()
    engine.send(request_execution(1))
    engine.send(request_execution(2))
    engine.wait(lambda: engine.acknowledged >= 2)
    assert engine.actions == []
    gate.open()
    engine.wait(lambda: len(engine.actions) == 2)


def test_a_slow_policy_delays_no_other_and_answers_come_out_of_order(start_engine: Start) -> None:
    engine = start_engine(gate=GATE, add=ADD)
    engine.configure(1, "gate:v1.0.0")
    engine.configure(2, "add:v1.0.0")
    gate = Gate()
    engine.send(request_execution(1), *(request_execution(number, 2) for number in range(2, 50)))
    engine.wait(lambda: len(engine.actions) == 48)
    assert 1 not in {action.id for action in engine.actions}
    gate.open()
    engine.action(1)
    assert engine.actions[-1].id == 1


def test_answers_that_are_there_leave_in_one_frame(start_engine: Start) -> None:
    engine = start_engine(add=ADD)
    engine.configure(1, "add:v1.0.0")
    for first in range(0, 2000, 200):
        engine.send(*map(request_execution, range(first, first + 200)))
        engine.wait(lambda until=first + 200: len(engine.actions) == until)  # type: ignore[misc]
    assert len(engine.frames) < 2000 / 4


def test_concurrency_is_limited_and_blocks_no_worker(start_engine: Start) -> None:
    engine = start_engine(gate=GATE, add=ADD)
    engine.configure(1, "gate:v1.0.0", max_concurrency=2)
    engine.configure(2, "add:v1.0.0")
    gate = Gate()
    engine.send(*map(request_execution, range(1, 11)))
    gate.wait_started(2)
    assert engine.execute(request_execution(99, 2)).id == 99
    assert engine.health().workers_busy == 2
    assert not gate.started.acquire(blocking=False)
    gate.open()
    engine.wait(lambda: len(engine.actions) == 11)


def test_no_policy_takes_all_workers(start_engine: Start) -> None:
    engine = start_engine(workers=3, gate=GATE, add=ADD)
    engine.configure(1, "gate:v1.0.0", max_concurrency=100)
    engine.configure(2, "add:v1.0.0")
    gate = Gate()
    engine.send(*map(request_execution, range(1, 11)))
    gate.wait_started(3)
    assert engine.execute(request_execution(99, 2)).id == 99
    assert engine.health().workers_busy == 3
    gate.open()
    engine.wait(lambda: len(engine.actions) == 11)


@pytest.mark.parametrize("limits", [Limits(max_backlog=0)])
def test_a_long_backlog_holds_the_acknowledgement_back(start_engine: Start) -> None:
    engine = start_engine(workers=1, gate=GATE, add=ADD)
    engine.configure(1, "gate:v1.0.0")
    engine.configure(2, "gate:v1.0.0")
    engine.configure(3, "add:v1.0.0")
    gate = Gate()
    engine.send(request_execution(1), request_execution(2, 2))
    gate.wait_started(2)
    engine.send(request_execution(3, 3))
    engine.send(request_execution(4, 3), close=[3])
    engine.send(request_execution(5, 3))
    assert engine.action(5).failure.failure_class == pb.FAILURE_CLASS_UNAVAILABLE
    assert engine.acknowledged < 5
    gate.open()
    engine.wait(lambda: engine.acknowledged == 7)


@pytest.mark.parametrize("limits", [Limits(max_waiting=3)])
def test_a_full_queue_fails_fast(start_engine: Start) -> None:
    engine = start_engine(gate=GATE)
    engine.configure(1, "gate:v1.0.0", max_concurrency=1)
    gate = Gate()
    engine.send(*map(request_execution, range(1, 7)))
    engine.wait(lambda: len(engine.actions) == 2)
    assert [action.id for action in engine.actions] == [5, 6]
    assert {action.failure.failure_class for action in engine.actions} == {pb.FAILURE_CLASS_OVERLOADED}
    assert "executions to wait" in engine.actions[0].failure.message
    gate.open()
    engine.wait(lambda: len(engine.actions) == 6)


def test_an_execution_past_its_deadline_is_never_started(start_engine: Start) -> None:
    engine = start_engine(gate=GATE)
    engine.configure(1, "gate:v1.0.0", max_concurrency=1)
    gate = Gate()
    engine.send(request_execution(1), request_execution(2, seconds=0.001), request_execution(3, seconds=0))
    gate.wait_started()
    end = time.monotonic() + 0.002
    engine.wait(lambda: time.monotonic() > end)
    gate.open()
    for number in (2, 3):
        assert engine.action(number).failure.failure_class == pb.FAILURE_CLASS_TIMEOUT
    assert engine.action(1) == pb.Action(id=1)
    assert not gate.started.acquire(blocking=False)
    assert engine.health().executions_started == 1


def test_a_cancelled_execution_is_not_started_and_not_answered(start_engine: Start) -> None:
    engine = start_engine(gate=GATE)
    engine.configure(1, "gate:v1.0.0", max_concurrency=1)
    gate = Gate()
    engine.send(*map(request_execution, (1, 2, 3)))
    gate.wait_started()
    engine.send(cancel=[1, 2, 77])
    engine.send()
    engine.wait(lambda: engine.acknowledged >= 3)
    gate.open()
    engine.action(3)
    assert {action.id for action in engine.actions} == {1, 3}
    assert engine.health().executions_started == 2


def test_a_closed_instance_gets_no_further_executions(start_engine: Start) -> None:
    engine = start_engine(gate=GATE)
    engine.configure(1, "gate:v1.0.0")
    gate = Gate()
    engine.send(request_execution(1), close=[1])
    engine.send(request_execution(2))
    failure = engine.action(2).failure
    assert failure.failure_class == pb.FAILURE_CLASS_UNAVAILABLE
    assert "no instance 1 is configured" in failure.message
    gate.open()
    assert engine.action(1) == pb.Action(id=1)


def test_after_a_reconnect_everything_is_configured_anew(serve: Callable[..., Path]) -> None:
    socket = serve(add=ADD, gate=GATE)
    with Engine(socket) as first:
        first.configure(1, "add:v1.0.0", {"value": "old"})
        first.configure(2, "gate:v1.0.0", max_concurrency=1)
        gate = Gate()
        first.send(request_execution(1, 2), request_execution(2, 2))
        gate.wait_started()
    with Engine(socket) as second:
        assert second.execute(request_execution(1)).failure.failure_class == pb.FAILURE_CLASS_UNAVAILABLE
        second.configure(1, "add:v1.0.0", {"value": "new"})
        assert second.execute(request_execution(2)).set_headers == b"x-policy\0new\0"
        gate.open()
        second.wait(lambda: second.health().executions_finished == 2)
    assert not gate.started.acquire(blocking=False)


def test_an_engine_that_closes_its_side_still_gets_its_answers(start_engine: Start) -> None:
    engine = start_engine(gate=GATE)
    engine.configure(1, "gate:v1.0.0")
    gate = Gate()
    engine.send(request_execution(1))
    gate.wait_started()
    engine.half_close()
    gate.open()
    assert engine.action(1) == pb.Action(id=1)
    engine.wait(lambda: engine.ended)
    assert engine.error is None


def test_an_invalid_frame_ends_the_stream_with_an_error(serve: Callable[..., Path]) -> None:
    with grpc.insecure_channel(f"unix:{serve(add=ADD)}") as channel:
        raw: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(f"/{SERVICE}/ExecuteStream")
        with pytest.raises(grpc.RpcError):
            list(raw(iter([b"\xff\xff"])))


def test_large_bodies_go_through(start_engine: Start) -> None:
    source = """
        from gatewright.policy import UpstreamRequestModifications
        def on_request(ctx, params):
            return UpstreamRequestModifications(body=ctx.body + b"!")
    """
    engine = start_engine(body=source)
    engine.configure(1, "body:v1.0.0")
    executions = [request_execution(number) for number in (1, 2, 3)]
    for execution in executions:
        execution.request_body = b"x" * (20 << 20)
        engine.send(execution)
    assert len(engine.action(1).body) == len(engine.action(3).body) == (20 << 20) + 1


def test_health_reports_workers_and_executions(start_engine: Start) -> None:
    engine = start_engine(gate=GATE)
    idle = engine.health()
    assert (idle.serving, idle.workers, idle.workers_busy, idle.oldest_execution_ms) == (True, 4, 0, 0)
    engine.configure(1, "gate:v1.0.0")
    gate = Gate()
    engine.send(request_execution(1))
    gate.wait_started()
    busy = engine.wait(lambda: health if (health := engine.health()).oldest_execution_ms >= 2 else None)
    assert (busy.workers_busy, busy.executions_started, busy.executions_finished) == (1, 1, 0)
    assert busy.oldest_execution_policy == "gate:v1.0.0"
    gate.open()
    engine.action(1)
    engine.wait(lambda: engine.health().executions_finished == 1)


def test_stopping_answers_what_is_under_way_and_refuses_the_rest(load: Callable[..., object], tmp_path: Path) -> None:
    server = Server(load(gate=GATE), 2)  # type: ignore[arg-type]
    server.start(tmp_path / "s.sock")
    with Engine(tmp_path / "s.sock") as engine, ThreadPoolExecutor(1) as pool:
        engine.configure(1, "gate:v1.0.0")
        gate = Gate()
        engine.send(request_execution(1))
        gate.wait_started()
        stopped = pool.submit(server.stop, 10)
        engine.wait(lambda: all(stream._draining for stream in server._streams))
        engine.send(request_execution(2))
        assert engine.action(2).failure.failure_class == pb.FAILURE_CLASS_UNAVAILABLE
        assert not stopped.done()
        gate.open()
        assert engine.action(1) == pb.Action(id=1)
        stopped.result(10)
        engine.wait(lambda: engine.ended)
        assert engine.error is None


def test_stopping_does_not_wait_for_ever(load: Callable[..., object], tmp_path: Path) -> None:
    server = Server(load(gate=GATE), 2)  # type: ignore[arg-type]
    server.start(tmp_path / "s.sock")
    with Engine(tmp_path / "s.sock") as engine:
        engine.configure(1, "gate:v1.0.0")
        gate = Gate()
        engine.send(request_execution(1))
        gate.wait_started()
        server.stop(0.05)
        engine.wait(lambda: engine.ended)
        gate.open()


def test_the_socket_is_its_owners_only(serve: Callable[..., Path]) -> None:
    mode = serve(add=ADD).stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


def test_a_stale_socket_is_removed_and_a_live_one_left_alone(serve: Callable[..., Path], tmp_path: Path) -> None:
    live = serve(add=ADD)
    with pytest.raises(SocketError, match="another process listens"):
        Server({}, 1).start(live)
    stale = tmp_path / "stale.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(stale))
    server = Server({}, 1)
    server.start(stale)
    with Engine(stale) as engine:
        assert engine.hello.workers == 1
    server.stop(0)


def test_a_socket_that_was_handed_over_is_served_and_not_inherited(tmp_path: Path) -> None:
    handed = socket.socket(socket.AF_UNIX)
    handed.bind(str(tmp_path / "handed.sock"))
    handed.listen()
    handed.set_inheritable(True)
    with socket.socket(socket.AF_UNIX) as early:
        early.connect(str(tmp_path / "handed.sock"))  # before it is served: it waits, and is answered then
        server = Server({}, 1)
        server.start(handed.detach())
        assert early.recv(1) == b"\0"
    listening = server._listener._socket
    assert listening is not None
    assert not listening.get_inheritable()
    with Engine(tmp_path / "handed.sock") as engine:
        assert engine.hello.workers == 1
    server.stop(0)


def test_a_descriptor_that_is_no_socket_that_listens(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound, (tmp_path / "file").open("w") as file:
        bound.bind(str(tmp_path / "bound.sock"))
        for descriptor in (bound.fileno(), file.fileno(), 999):
            with pytest.raises(SocketError, match=f"a Unix socket that listens at descriptor {descriptor}, got"):
                Server({}, 1).start(descriptor)


@pytest.mark.parametrize(("path", "sentence"), [
    ("file", "found a file; it is left alone"),
    ("missing/x.sock", "expected a folder"),
    ("x" * 110, "at most 107 bytes"),
])  # fmt: skip
def test_a_path_that_cannot_be_a_socket(tmp_path: Path, path: str, sentence: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SocketError, match=sentence):
        Server({}, 1).start(tmp_path / path)
    assert (tmp_path / "file").read_text() == "mine"
