"""`gatewright tail`, `explain` and `record` as processes, against a real controller and a node that reports exchanges
of a test.
"""

from __future__ import annotations

import json
import os
import pty
import queue
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import httpx
import pytest
from gatewright_controller._gen import node_pb2, node_pb2_grpc

from cli.tests.controller_process import LIMIT_SECONDS, TOKEN, Controller, controlling
from cli.tests.exchanges.examples import ID, Json, document, execution, failure

COMMAND = (sys.executable, "-m", "gatewright_cli")
FAILED = execution(0, "slow", "failed", failure=failure("timeout", "late after 1s"))
LINE = f"17:10:51.123  200   12.3 ms  GET /orders/v1.0/7?x=1  orders GET /{{id}}  {ID}\n"


PROBE = b'{"id":"-"}'
"""The filter of `observed_nodes`, by which a test waits for the connection of a node."""


class Node:
    """A node that reports exchanges on Observe."""

    def __init__(self, controller: Controller, node_id: str) -> None:
        self._channel = grpc.insecure_channel(f"unix:{controller.socket}")
        self._messages: queue.Queue[node_pb2.Observed | None] = queue.Queue()
        self._messages.put(node_pb2.Observed(node_id=node_id))
        stub = node_pb2_grpc.NodeServiceStub(self._channel)
        self._asked = stub.Observe(iter(self._messages.get, None), wait_for_ready=True)
        self._seen: queue.Queue[node_pb2.Observation] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        while node_id not in controller.observed_nodes():
            assert self._reader.is_alive()

    def _read(self) -> None:
        try:
            for observation in self._asked:
                if not (observation.kept or observation.record_only or observation.stop):
                    self._messages.put(node_pb2.Observed(observation=observation.id))  # it has begun
                if observation.filter != PROBE:
                    self._seen.put(observation)
        except grpc.RpcError:
            pass

    def next_observation(self, *, kept: bool = False) -> node_pb2.Observation:
        """The next observation that is no stop."""
        while (found := self._seen.get(timeout=LIMIT_SECONDS)).stop:
            pass
        assert found.kept == kept
        return found

    def stopped(self, observation: int) -> bool:
        """Whether the next message stops this observation, apart from stops of others."""
        while (found := self._seen.get(timeout=LIMIT_SECONDS)).stop and found.id != observation:
            pass
        return found.stop

    def report(self, observation: int, *documents: Json, **more: object) -> None:
        for recorded in documents:
            exchange = json.dumps(recorded).encode()
            self._messages.put(node_pb2.Observed(observation=observation, exchanges=[exchange]))
        if more:
            self._messages.put(node_pb2.Observed(observation=observation, **more))  # type: ignore[arg-type]

    def answer_kept(self, *documents: Json) -> Json:
        """Sends these as the kept exchanges; returns the filter of the observation."""
        next_observation = self.next_observation(kept=True)
        self.report(next_observation.id, *documents, ended=True)
        found: Json = json.loads(next_observation.filter)
        return found

    def close(self) -> None:
        self._messages.put(None)
        self._asked.cancel()
        self._reader.join(LIMIT_SECONDS)
        self._channel.close()


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    with controlling(tmp_path_factory.mktemp("c")) as controller:
        yield controller


@pytest.fixture
def node(controller: Controller) -> Iterator[Node]:
    with connected_node(controller, "node-1") as node:
        yield node


@contextmanager
def connected_node(controller: Controller, node_id: str) -> Iterator[Node]:
    node = Node(controller, node_id)
    try:
        yield node
    finally:
        node.close()


class Command:
    """One of ours, under way."""

    def __init__(
        self, controller: Controller, *arguments: str, errors: int = subprocess.PIPE, token: Path | None = None
    ) -> None:
        environment = {**os.environ, "GATEWRIGHT_CONTROLLER_TOKEN_FILE": str(token or controller.token)}
        command = [*COMMAND, *arguments, "--controller", controller.url]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)

    def line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline()

    def complaint(self) -> str:
        assert self.process.stderr
        return self.process.stderr.readline()

    def end(self) -> tuple[int, str, str]:
        """The exit status, and the output since the last call."""
        out, err = self.process.communicate(timeout=LIMIT_SECONDS)
        return self.process.returncode, out, err

    def interrupt(self, number: int = signal.SIGINT) -> tuple[int, str, str]:
        self.process.send_signal(number)
        return self.end()


def test_tail_prints_a_line_for_each_as_it_comes(controller: Controller, node: Node) -> None:
    tail = Command(
        controller,
        "tail",
        "--status",
        "5xx",
        "--status",
        "200",
        "--header",
        "x-user=ann",
        "--errors",
        "--shadow",
        "different",
    )
    observation = node.next_observation()
    assert json.loads(observation.filter) == {
        "status": ["5xx", "200"], "header": {"name": "x-user", "value": "ann"}, "errors": True, "shadow": "different",
    }  # fmt: skip
    node.report(observation.id, document())
    assert tail.line() == LINE
    node.report(observation.id, document(FAILED, status=504, answeredBy="failure"))
    assert "slow:v1.0.0 failed: timeout" in tail.line()
    assert tail.interrupt() == (0, "", "")
    assert node.stopped(observation.id)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order(controller: Controller, node: Node, number: int) -> None:
    tail = Command(controller, "tail")
    observation = node.next_observation()
    node.report(observation.id, document())
    assert tail.line() == LINE
    assert tail.interrupt(number) == (0, "", "")
    assert node.stopped(observation.id)


def test_as_json_it_is_the_nodes_own_document(controller: Controller, node: Node) -> None:
    tail = Command(controller, "tail", "--json", "--limit", "2")
    found = [document(), document(FAILED)]
    node.report(node.next_observation().id, *found)
    status, out, err = tail.end()
    assert (status, err) == (0, "")
    assert out == "".join(f"{json.dumps(item)}\n" for item in found)


def test_missing_exchanges_are_reported_on_stderr(controller: Controller, node: Node) -> None:
    tail = Command(controller, "tail", "--seconds", "1")
    observation = node.next_observation()
    node.report(observation.id, dropped=3)
    node.report(observation.id, ended=True, refused="expected at most 8 observations, got 9")
    messages = {tail.complaint() for _ in range(3)}
    assert messages == {
        "3 exchanges dropped: they arrive faster than this command reads them; narrow the filter, or use --sample\n",
        "node node-1 sends no exchanges: expected at most 8 observations, got 9\n",
        "ended: the time is over (--seconds)\n",
    }
    assert tail.end() == (0, "", "")


@pytest.mark.parametrize("command", ["tail", "record"])
def test_a_terminal_shows_which_nodes_are_watched(
    controller: Controller, node: Node, command: str, tmp_path: Path
) -> None:
    primary, terminal = pty.openpty()
    folder = [str(tmp_path)] if command == "record" else []
    with os.fdopen(primary, "rb", buffering=0) as screen:
        waiting = Command(controller, command, *folder, "--seconds", "300", errors=terminal)
        os.close(terminal)
        observation = node.next_observation()
        output = b""
        while not output.endswith(b"\n"):
            output += screen.read(1000)
        assert b"watching node-1 for 300 s; Ctrl-C ends it" in output
        assert waiting.interrupt()[0] == 0
    assert node.stopped(observation.id)


def test_no_kept_exchange_is_reported(controller: Controller, node: Node) -> None:
    tail = Command(controller, "tail", "--kept")
    node.answer_kept()
    assert tail.end() == (
        0,
        "",
        "no node has kept a matching exchange; `gatewright tail` and `gatewright record` have nodes keep them\n",
    )


def _began(second: int) -> Json:
    return document(id=f"request-{second}", startedAt=f"2026-11-26T17:10:{second:02}.000000Z")


def test_a_limit_on_kept_exchanges_returns_the_newest(controller: Controller, node: Node) -> None:
    tail = Command(controller, "tail", "--kept", "--limit", "2", "--json")
    node.answer_kept(_began(1), _began(5), _began(3), _began(2))
    status, out, err = tail.end()
    assert (status, err) == (0, "")
    assert [json.loads(line)["id"] for line in out.splitlines()] == ["request-3", "request-5"]


def test_explain_takes_the_last_that_is_kept(controller: Controller, node: Node) -> None:
    explain = Command(controller, "explain", "--last", "--json")
    assert node.answer_kept(_began(4), _began(9), _began(7)) == {}
    status, out, err = explain.end()
    assert (status, json.loads(out)["id"], err) == (0, "request-9", "")
    explain = Command(controller, "explain", "--last")
    node.answer_kept()
    status, out, err = explain.end()
    assert (status, out) == (3, "")
    assert "no node has kept a matching exchange" in err


@pytest.mark.parametrize("arguments", [["x", "--last"], ["x", "--api", "a"], []])
def test_explain_takes_one_or_the_other(controller: Controller, arguments: list[str]) -> None:
    status, _, err = Command(controller, "explain", *arguments).end()
    assert (status, err.endswith("expected REQUEST_ID, --last or --api NAME\n")) == (2, True)


def test_without_a_node_it_waits_for_one(controller: Controller) -> None:
    tail = Command(controller, "tail", "--limit", "1")
    assert tail.complaint() == "no node is connected to the controller; exchanges are shown once one is\n"
    with connected_node(controller, "node-2") as late:
        late.report(late.next_observation().id, document())
        assert tail.end() == (0, LINE, "")


@pytest.mark.parametrize("command", [["tail"], ["record"], ["explain", "x"]])
def test_a_wrong_token_is_reported_with_its_source(controller: Controller, tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "token").write_text("another")
    refused = Command(controller, *command, token=tmp_path / "token")
    status, out, err = refused.end()
    assert (status, out) == (7, "")
    assert (
        "; with --controller, name the file with the token in GATEWRIGHT_CONTROLLER_TOKEN_FILE; with a context" in err
    )


@pytest.mark.parametrize("command", ["tail", "record"])
def test_what_the_controller_refuses_is_one_sentence(controller: Controller, command: str) -> None:
    refused = Command(controller, command, "--path", "orders", "--sample", "2")
    status, out, err = refused.end()
    root = "filter." if command == "record" else ""
    assert (status, out) == (1, "")
    assert err.startswith(f"error: {root}path: expected the beginning of a path, such as '/orders', got 'orders'; ")
    assert f"{root}sample: expected a share from 0 to 1, got 2.0" in err


def test_a_controller_that_ends_or_is_away(tmp_path: Path) -> None:
    with controlling(tmp_path) as controller, connected_node(controller, "node-1") as node:
        tail = Command(controller, "tail")
        node.next_observation()
        controller.end()
        assert tail.end() == (6, "", "error: the controller is stopping\n")
        for command in (["tail"], ["explain", "x"], ["record"]):
            status, out, err = Command(controller, *command).end()
            assert (status, out) == (6, "")
            assert err.startswith(f"error: the controller at {controller.url} gave no answer ")
            assert err.endswith("(ConnectionRefusedError)\n")


def test_a_controller_that_is_killed(tmp_path: Path) -> None:
    with controlling(tmp_path) as controller, connected_node(controller, "node-1") as node:
        tail = Command(controller, "tail")
        node.report(node.next_observation().id, document())
        assert tail.line() == LINE
        controller.end(signal.SIGKILL)
        status, out, err = tail.end()
        assert (status, out) == (6, "")
        assert err.startswith("error: the controller no longer answers (")


def test_explain_prints_one_exchange_in_full(controller: Controller, node: Node) -> None:
    explain = Command(controller, "explain", ID)
    assert node.answer_kept(document(FAILED, status=504, answeredBy="failure")) == {"id": ID}
    status, out, err = explain.end()
    assert (status, err) == (0, "")
    assert out.startswith(
        "GET /orders/v1.0/7?x=1: the gateway answered 504 because slow:v1.0.0 failed in the request phase: timeout: "
        "late after 1s; 12.3 ms\n\n"
    )
    explain = Command(controller, "explain", ID, "--json")
    node.answer_kept(document())
    assert explain.end() == (0, f"{json.dumps(document())}\n", "")


def test_explain_of_an_unknown_exchange_says_how_to_record_one(controller: Controller, node: Node) -> None:
    explain = Command(controller, "explain", "no/such id")
    assert node.answer_kept() == {"id": "no/such id"}
    status, out, err = explain.end()
    assert (status, out) == (3, "")
    assert err == (
        "error: no node has an exchange no/such id; nodes keep the newest exchanges that are watched (GET "
        "/v1/exchanges, `gatewright tail`) or recorded (POST /v1/recordings, `gatewright record`); start one of these, "
        "and repeat the request\n"
    )


def test_record_saves_each_in_a_file_of_its_own_and_overwrites_none(
    controller: Controller, node: Node, tmp_path: Path
) -> None:
    folder = tmp_path / "new" / "recorded"
    names = ["", "-2", "-3"]
    expected = [folder / f"20261126T171051.123456Z-GET-orders-v1-0-7-5f1c2d3e{name}.exchange.json" for name in names]
    for limit, paths in ((2, expected[:2]), (1, expected[2:])):
        record = Command(controller, "record", str(folder), "--api", "orders", "--limit", str(limit))
        refused = record.end()
        assert refused[0] == 1, "there is no API orders"
        record = Command(controller, "record", str(folder), "--limit", str(limit))
        node.report(node.next_observation().id, *(document(number=number) for number in range(limit)))
        assert record.end() == (
            0, "".join(f"{path}\n" for path in paths), f"{limit} exchange{'s' * (limit > 1)} in {folder}\n",
        )  # fmt: skip
    assert sorted(folder.iterdir()) == sorted(expected)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in expected} == {0o600}
    assert [json.loads(path.read_text())["number"] for path in expected] == [0, 1, 0]
    assert expected[1].read_text() == f"{json.dumps(document(number=1))}\n"
    shown = Command(controller, "explain", str(expected[0])).end()
    assert shown[0] == 0
    assert shown[1].startswith("GET /orders/v1.0/7?x=1: the upstream answered 200; 12.3 ms\n")
    named = expected[0].rename(tmp_path / "login.json")
    assert Command(controller, "explain", str(named)).end() == shown, "expected any name to do"


def test_record_kept_saves_what_nodes_have(controller: Controller, node: Node, tmp_path: Path) -> None:
    record = Command(controller, "record", str(tmp_path), "--kept")
    assert node.answer_kept(document(), document()) == {}
    status, out, err = record.end()
    assert (status, err) == (0, f"2 exchanges in {tmp_path}\n")
    assert len(out.splitlines()) == 2


def test_record_without_a_folder_leaves_it_to_the_nodes(controller: Controller, node: Node) -> None:
    arguments = [
        "--seconds",
        "60",
        "--errors",
        "--header",
        "x-user=ann",
        "--client",
        "10.1.2.3",
        "--sample",
        "0.5",
        "--status",
        "4xx,503",
    ]
    record = Command(controller, "record", *arguments)
    observation = node.next_observation()
    node.answer_kept()
    status, out, err = record.end()
    assert (status, err) == (0, "")
    assert out.startswith("recording ")
    assert json.loads(observation.filter) == {
        "client": "10.1.2.3", "errors": True, "header": {"name": "x-user", "value": "ann"}, "sample": 0.5,
        "status": ["4xx", "503"],
    }  # fmt: skip
    assert observation.record_only
    assert 0 < observation.seconds <= 60
    url = f"{controller.url}/v1/recordings/{out.split()[1]}"
    assert httpx.delete(url, headers={"authorization": f"Bearer {TOKEN}"}).status_code == 204
    assert node.stopped(observation.id)


@pytest.mark.parametrize("option", [["--kept"], ["--limit", "3"]])
def test_options_that_need_a_folder_are_refused_without_one(controller: Controller, option: list[str]) -> None:
    assert Command(controller, "record", *option).end() == (
        1, "", f"error: expected DIR with {option[0]}, got none: name a folder for the files\n",
    )  # fmt: skip


def test_a_folder_that_cannot_be_one_is_named(controller: Controller, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert Command(controller, "record", str(tmp_path / "file")).end() == (
        1, "", f"error: {tmp_path}/file: expected a folder for exchanges: File exists\n",
    )  # fmt: skip
    status, _, err = Command(controller, "explain", str(tmp_path / "none.exchange.json")).end()
    assert (status, err) == (
        1, f"error: {tmp_path}/none.exchange.json: expected a file of `gatewright record`: No such file or directory\n",
    )  # fmt: skip


def test_a_reader_that_has_enough_ends_it(controller: Controller, node: Node) -> None:
    """As `gatewright tail | head -1`."""
    tail = Command(controller, "tail")
    observation = node.next_observation()
    node.report(observation.id, document())
    assert tail.line() == LINE
    assert tail.process.stdout
    tail.process.stdout.close()
    node.report(observation.id, document(), document())
    assert tail.process.wait(LIMIT_SECONDS) != 0
    assert tail.process.stderr
    assert "Traceback" not in tail.process.stderr.read()
    tail.process.stderr.close()
    assert node.stopped(observation.id)
