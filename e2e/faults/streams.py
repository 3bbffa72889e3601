"""Streams that break, on an API of their own: no answer that was cut is a whole one, and the others notice nothing."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from e2e.faults.changes import write
from e2e.faults.contract import Contract, Fault, Outcomes
from e2e.faults.environment import MARK, LoadedEnvironment, Setting, now
from e2e.faults.faulty_policies import EXCEPTION, GONE, TIMEOUT, names_the_policy, still_runs
from e2e.faults.kills import EXECUTOR, POLICY_ERRORS, kill
from e2e.faults.row import Row
from e2e.kit.gateway import attach, eventually
from e2e.kit.load import Flow, pause, run_load

WHOLE: Outcomes = frozenset({"200"})
RESET: Outcomes = frozenset({"broken"})
CLIENT_GAVE_UP: Outcomes = frozenset({"timeout"})
EVENTS = "?events=10&every=100ms"
OPEN = Flow("stream", f"/stream/x{EVENTS}", 50.0)
PASSES = Setting(apis=(("stream", attach("pass-stream")),))
LEFT_SECONDS = 10.0


def setting(how: str, **params: object) -> Setting:
    """An environment with an API "faulty", whose policy does so."""
    return Setting(apis=(("faulty", attach("faulty-stream", {"how": how, **params})),))


def ask(environment: LoadedEnvironment, method: str = "GET") -> Fault:
    """Twenty of them, over two seconds."""
    return environment.ask(Flow("faulty", f"/faulty/x{EVENTS}", 10.0, method, count=20))


def row_of_behaviour(
    name: str, outcomes: Outcomes, how: str, method: str = "GET", seconds: float = 0.0, **params: object
) -> Row:
    """A policy that does so at each request; the fault is over with its answers, and the process lives on."""
    row = Row(
        name,
        partial(ask, method=method),
        Contract(recovery=seconds, always={"faulty": outcomes}),
        setting(how, seconds=seconds, **params),
    )
    return replace(row, check=lambda environment: [*still_runs(environment), *check_policy_and_rest(environment)])


def check_policy_and_rest(environment: LoadedEnvironment) -> list[str]:
    return [*names_the_policy(environment), *check_nothing_left(environment)]


def row_of_computing() -> Row:
    """Twenty at once compute for longer than their timeout: the process hangs, and another takes its place.

    They have one event loop, so one may wait for the others for longer than its client does. The policies that are
    not async answer as ever, until the other process is there.
    """
    outcomes = RESET | TIMEOUT | GONE | CLIENT_GAVE_UP
    row = row_of_behaviour("a stream that computes for 2 s", outcomes, "computes", seconds=2.0)
    return replace(row, check=check_policy_and_rest)


def while_open(environment: LoadedEnvironment, inject: Callable[[LoadedEnvironment], Fault]) -> Fault:
    """Injects when many streams are in their middle, and waits for their ends."""
    with run_load(environment.tool, environment.address, [OPEN]) as load:
        load.flowing()
        pause(1.0)
        fault = inject(environment)
        pause(1.0)
        environment.others += load.stop()
    return fault


def check_streams_cut(environment: LoadedEnvironment) -> list[str]:
    cut = [answer for answer in environment.others if answer.outcome == "broken"]
    return [] if len(cut) > 20 else [f"expected more than 20 streams to be cut, got {len(cut)}"]


def reload(environment: LoadedEnvironment) -> Fault:
    start = now()
    write(environment, MARK.format(word="second"))
    result = environment.gateway.reload()
    assert result.returncode == 0, result.stderr
    return Fault(start, now())


def reset_everywhere(environment: LoadedEnvironment) -> Fault:
    """Each client gets a little further before it resets its connection."""
    start, request = now(), request_to("stream")
    for sent in range(1, len(request), 3):
        reset_after(environment.gateway.port, request[:sent], 0)
    leave(environment, "stream")
    return Fault(start, now())


def leave(environment: LoadedEnvironment, api: str) -> Fault:
    """Clients that have sent all, and reset while the answer comes, after each of its events."""
    start = now()
    for events in range(10):
        reset_after(environment.gateway.port, request_to(api), events)
    return Fault(start, now())


def request_to(api: str) -> bytes:
    return f"POST /{api}/x{EVENTS} HTTP/1.1\r\nhost: test.local\r\ncontent-length: 9\r\n\r\nsome body".encode()


def recycle(environment: LoadedEnvironment) -> Fault:
    """Another process takes its place."""
    start, before = now(), environment.gateway.pid(EXECUTOR)
    eventually("the executor is replaced", lambda: environment.gateway.find_records(message="executor replaced"), 20)
    assert environment.gateway.executors()[0]["pid"] != before
    return Fault(start, now())


def reset_after(port: int, sent: bytes, events: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sendall(sent)
        data = b""
        while data.count(b"data: ") < events:
            data += client.recv(1 << 16)


def check_nothing_left(environment: LoadedEnvironment) -> list[str]:
    """No execution of a policy that streams is under way any more, a while after."""
    end = time.monotonic() + LEFT_SECONDS
    while left := under_way(environment):
        if time.monotonic() > end:
            return [f"expected no stream to be left, found {left}"]
        pause(0.2)
    return []


def under_way(environment: LoadedEnvironment) -> int:
    policies = json.loads(environment.gateway.admin("engine", "/stats"))["policies"]
    return sum(policy["active"] for policy in policies if policy["policy"].partition(":")[0].endswith("-stream"))


ROWS = [
    row_of_behaviour("a stream that raises before its first chunk", EXCEPTION, "raises-before"),
    row_of_behaviour("a stream that raises after its first chunk", RESET, "raises-after"),
    row_of_behaviour("a stream that yields no bytes", RESET, "wrong-type"),
    row_of_behaviour("a stream that never ends", RESET, "never-ends"),
    row_of_behaviour("a request's stream that never ends", TIMEOUT, "never-ends", "POST", direction="request"),
    row_of_computing(),
    Row(
        "a stream that ignores GeneratorExit",
        partial(leave, api="faulty"),
        Contract(recovery=0.0),
        setting("swallows-exit"),
        check=lambda environment: [
            *still_runs(environment),
            *names_the_policy(environment),
            *check_nothing_left(environment),
        ],
    ),
    Row(
        "executor kill -9 with 50 streams open",
        partial(while_open, inject=lambda environment: kill(environment, EXECUTOR)),
        Contract(meanwhile={"python": POLICY_ERRORS}, always={"stream": WHOLE | RESET | POLICY_ERRORS}),
        PASSES,
        check=check_streams_cut,
    ),
    Row(
        "hot code reload with 50 streams open",
        partial(while_open, inject=reload),
        Contract(recovery=0.0, always={"stream": WHOLE}),
        Setting(code=True, apis=(("stream", attach("stream")),)),
    ),
    Row(
        "executor recycled with 50 streams open",
        partial(while_open, inject=recycle),
        Contract(recovery=0.0, always={"stream": WHOLE}),
        Setting(options=("--recycle-after", "6s"), apis=PASSES.apis),
    ),
    Row(
        "clients that reset their streams at every stage",
        reset_everywhere,
        Contract(recovery=0.0),
        PASSES,
        check=check_nothing_left,
    ),
]
