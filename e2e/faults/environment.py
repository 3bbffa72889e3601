"""A gateway of a row's own, with three APIs that always run and those that the row adds, under load."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from e2e.faults.contract import Fault
from e2e.kit.answers import Answer
from e2e.kit.gateway import Gateway, Json, api, attach, eventually, running
from e2e.kit.load import Flow, Load, ask, pause, run_checking_upstream, run_load
from e2e.kit.policy_project import PolicyProject

EXPECTED: dict[str, dict[str, str]] = {
    "/go": {"X-Go-Policy": "go"},
    "/python": {"X-Order": "alive()"},
    "/bare": {},
    "/odd": {"X-Seen": "fffe"},
}
GO_POLICY = attach("add-headers", {"requestHeaders": [{"name": "X-Go-Policy", "value": "go"}]})
PYTHON_POLICY = attach("mark", {"name": "alive"})
MARK = """\
from sdk.policy import UpstreamRequestModifications, UpstreamResponseModifications

def on_request(ctx, params):
    return UpstreamRequestModifications(set_headers={{"x-order": "alive()"}})

def on_response(ctx, params):
    return UpstreamResponseModifications(set_headers={{"x-word": "{word}"}})
"""
STREAM = """\
async def on_response_stream(ctx, chunks, params):
    async for chunk in chunks:
        yield chunk
"""
RATE = 500.0
MIX = (Flow("go", "/go/x", 0.3), Flow("python", "/python/x", 0.4), Flow("bare", "/bare/x", 0.3))  # rates: shares


@dataclass(frozen=True)
class Setting:
    """The needs of a row: options of `gatewright run`, policies by the names of its own APIs, whether the code of the
    policy "mark" can be changed (then "stream" is beside it, nothing of e2e/kit/policies), flows beside the mix, and
    the start of the gateway.
    """

    options: tuple[str, ...] = ()
    apis: tuple[tuple[str, Json], ...] = ()
    code: bool = False
    rate: float = RATE
    flows: tuple[Flow, ...] = ()
    start: Callable[..., AbstractContextManager[Gateway]] = running


@dataclass
class Environment:
    """A gateway without load. `upstream` is a URL, `project` where code can be changed."""

    gateway: Gateway
    tool: Path
    upstream: str
    state: Path
    project: PolicyProject | None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.gateway.port}"

    def under(self, flows: Sequence[Flow], seconds: float) -> list[Answer]:
        """Runs so many seconds of load; the answers."""
        with run_load(self.tool, self.address, flows) as load:
            pause(seconds)
            return load.stop()


@dataclass
class LoadedEnvironment(Environment):
    """The environment of a fault: a gateway under load."""

    load: Load
    others: list[Answer] = field(default_factory=list)  # to requests beside the load

    def restarted(self, name: str, killed: int, seconds: float = 15.0) -> None:
        """Returns when the process runs under another pid than `killed`."""
        eventually(f"{name} is restarted", lambda: self.gateway.pid(name) not in {None, killed}, seconds)

    def logged_at(self, message: str) -> float:
        """When this was logged first, in seconds since the epoch."""
        records = self.gateway.find_records(message=message)
        assert records, f"expected {message!r} in the log, found no such line"
        return datetime.fromisoformat(str(records[0]["time"])).timestamp()

    def ask(self, flow: Flow) -> Fault:
        """Sends a counted flow and waits for its answers; the time that this took."""
        start_time = now()
        self.others += ask(self.tool, self.address, flow)
        return Fault(start_time, now())

    def answers(self) -> list[Answer]:
        """Ends the load; all answers of the row."""
        return sorted([*self.load.stop(), *self.others], key=lambda answer: answer.ended)


def mix(rate: float) -> list[Flow]:
    """The flows of every row: `rate` requests per second in all."""
    return [replace(flow, rate=flow.rate * rate) for flow in MIX]


@contextmanager
def started_environment(tool: Path, build: Path, setting: Setting) -> Iterator[Environment]:
    """A gateway with its APIs deployed."""
    options = ("--access-log", "/dev/null", "--drain-seconds", "5", *setting.options)
    expected = {f"/{name}": dict[str, str]() for name, _ in setting.apis} | EXPECTED
    with (
        tempfile.TemporaryDirectory(prefix="faults-") as state,
        run_checking_upstream(tool, expected) as upstream,
        code_of(setting) as project,
        start(setting, build, project, Path(state), *options) as gateway,
    ):
        deploy(gateway, upstream, setting.apis)
        yield Environment(gateway, tool, upstream, Path(state), project)


def start(
    setting: Setting, build: Path, project: PolicyProject | None, state: Path, *options: str
) -> AbstractContextManager[Gateway]:
    """The build, or the one made from the project."""
    if project is None:
        return setting.start(build, state, *options)
    return setting.start(None, state, *options, *project.arguments)


@contextmanager
def loaded_environment(tool: Path, build: Path, setting: Setting) -> Iterator[LoadedEnvironment]:
    """A gateway that has been under load for a moment."""
    flows = [*mix(setting.rate), *setting.flows]
    with started_environment(tool, build, setting) as bare, run_load(tool, bare.address, flows) as load:
        load.flowing()
        pause(1.0)
        yield LoadedEnvironment(bare.gateway, tool, bare.upstream, bare.state, bare.project, load)


@contextmanager
def code_of(setting: Setting) -> Iterator[PolicyProject | None]:
    """A build of its own, where a policy's code is to be changed."""
    if not setting.code:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="faults-code-") as folder:
        project = PolicyProject(Path(folder), "faults", go=("log-message", "add-headers"))
        project.write_policy("mark", MARK.format(word="first"))
        project.write_policy("stream", STREAM, more="processingMode: {responseBodyMode: STREAM}\n")
        yield project


def deploy(gateway: Gateway, upstream: str, apis: Sequence[tuple[str, Json]]) -> None:
    """The row's APIs and those of the mix; each upstream request is identified by its first segment."""
    for name, policy in [("go", GO_POLICY), ("python", PYTHON_POLICY), *apis]:
        gateway.deploy(api(name, f"{upstream}/{name}", [policy]))
    gateway.deploy(api("bare", f"{upstream}/bare"))


def now() -> float:
    """Seconds since the epoch, as the load generator counts."""
    return time.time()
