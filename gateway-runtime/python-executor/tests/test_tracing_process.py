"""Spans of policies, each test in a new process, since OpenTelemetry keeps its state for the whole process."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.testing import Engine, eventually, request_execution
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

SPAN = "00f067aa0ba902b7"
TRACEPARENT = f"00-4bf92f3577b34da6a3ce929d0e0e4736-{SPAN}-01"
MAIN = "from gatewright_executor.main import main; main()"
WITHOUT = "import sys; sys.modules[{name!r}] = None"
Start = Callable[..., Engine]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """start(source) → an engine of a process with that policy, configured as instance 1.

    without: a package that the process is not to have.
    """
    processes: list[subprocess.Popen[bytes]] = []
    engines: list[Engine] = []

    def start(source: str, without: str = "") -> Engine:
        (tmp_path / "policy.py").write_text(source)
        registry = tmp_path / "python_policy_registry.py"
        registry.write_text('PYTHON_POLICIES: dict[str, str] = {"policy:v1.0.0": "policy"}\n')
        socket = tmp_path / "s.sock"
        code = f"{WITHOUT.format(name=without)}; {MAIN}" if without else MAIN
        command = [sys.executable, "-c", code, "--listen", f"unix:{socket}", "--registry", str(registry)]
        with (tmp_path / "log").open("wb") as log:
            processes.append(subprocess.Popen(command, stderr=log))
        assert eventually(lambda: socket.exists() or processes[-1].poll() is not None)
        engines.append(Engine(socket))
        status = engines[-1].configure(1, "policy:v1.0.0")
        assert not status.HasField("failure"), status
        return engines[-1]

    yield start
    for engine in engines:
        engine.__exit__(None, None, None)
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def log(tmp_path: Path) -> Callable[[], str]:
    """What the process has logged so far."""
    return lambda: (tmp_path / "log").read_text()


def headers(action: pb.Action) -> dict[str, str]:
    assert not action.HasField("failure"), action
    fields = action.set_headers.decode().split("\0")
    return dict(zip(fields[::2], fields[1::2], strict=False))


OWN = """
from gatewright.policy import UpstreamRequestModifications
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
tracer = trace.get_tracer("mine")

def prepare(params):
    trace.set_tracer_provider(provider)

def on_request(ctx, params):
    with tracer.start_as_current_span("own"):
        pass
    parents = [f"{span.parent.span_id:016x}" if span.parent else "none" for span in exporter.get_finished_spans()]
    same = trace.get_tracer_provider() is provider
    return UpstreamRequestModifications(set_headers={"x-parents": " ".join(parents), "x-same": str(same)})
"""


def test_a_provider_that_the_policy_has_set_is_left_alone_and_has_the_parent_all_the_same(
    start: Start, log: Callable[[], str]
) -> None:
    engine = start(OWN)
    engine.execute(request_execution(1, traceparent=TRACEPARENT))
    assert headers(engine.execute(request_execution(2))) == {"x-parents": f"{SPAN} none", "x-same": "True"}
    assert engine.spans == []
    assert "Overriding" not in log()


IMPORTED = """
import sys
from gatewright.policy import UpstreamRequestModifications

def on_request(ctx, params):
    imported = [name for name, module in sys.modules.items() if name.startswith("opentelemetry") and module]
    threads = __import__("threading").enumerate()
    return UpstreamRequestModifications(set_headers={
        "x-imported": " ".join(imported), "x-thread": str(any(thread.name == "spans" for thread in threads)),
        "x-traceparent": ctx.traceparent,
    })
"""


def test_where_no_policy_imports_opentelemetry_nothing_does(start: Start) -> None:
    engine = start(IMPORTED)
    engine.execute(request_execution(1, traceparent=TRACEPARENT))
    action = engine.execute(request_execution(2, traceparent=TRACEPARENT))
    assert headers(action) == {"x-imported": "", "x-thread": "False", "x-traceparent": TRACEPARENT}


def test_a_group_without_opentelemetry_runs_traced_executions(start: Start, log: Callable[[], str]) -> None:
    engine = start(IMPORTED, without="opentelemetry")
    assert headers(engine.execute(request_execution(1, traceparent=TRACEPARENT)))["x-traceparent"] == TRACEPARENT
    assert "OpenTelemetry" not in log()


CURRENT = """
from gatewright.policy import UpstreamRequestModifications
from opentelemetry import propagate, trace

def on_request(ctx, params):
    with trace.get_tracer("mine").start_as_current_span("not recorded"):
        carrier = {}
        propagate.inject(carrier)
    return UpstreamRequestModifications(set_headers=carrier)
"""


def test_with_the_api_alone_calls_carry_the_trace_and_nothing_is_recorded(start: Start) -> None:
    engine = start(CURRENT, without="opentelemetry.sdk")
    assert headers(engine.execute(request_execution(1, traceparent=TRACEPARENT))) == {"traceparent": TRACEPARENT}
    assert headers(engine.execute(request_execution(2))) == {}
    assert engine.spans == []


LATE = """
def on_request(ctx, params):
    from opentelemetry import trace
    trace.get_tracer("mine").start_span("recorded").end()
"""


def test_a_policy_may_import_it_late(start: Start) -> None:
    engine = start(LATE)
    for number in (1, 2):
        engine.execute(request_execution(number, traceparent=TRACEPARENT))
    engine.wait(lambda: engine.spans)
    assert len(ResourceSpans.FromString(engine.spans[0]).scope_spans[0].spans) == 1, "from the second on"


RECORDS = """
import os, signal, time
from opentelemetry import trace

tracer = trace.get_tracer("mine")

def on_request(ctx, params):
    with tracer.start_as_current_span("last"):
        os.kill(os.getpid(), signal.SIGTERM)
"""


def test_a_process_that_stops_sends_what_it_has_recorded(start: Start) -> None:
    engine = start(RECORDS)
    engine.send(request_execution(1, traceparent=TRACEPARENT))
    assert eventually(lambda: engine.ended)
    assert engine.error is None
    spans = [span for batch in engine.spans for span in ResourceSpans.FromString(batch).scope_spans[0].spans]
    assert [(span.name, span.parent_span_id.hex()) for span in spans] == [("last", SPAN)]


BROKEN = """
import sys, types
sys.modules["opentelemetry.trace"] = types.ModuleType("opentelemetry.trace")

def on_request(ctx, params):
    pass
"""


def test_an_incompatible_release_is_logged_once_and_harms_no_execution(start: Start, log: Callable[[], str]) -> None:
    engine = start(BROKEN)
    for number in (1, 2):
        assert not engine.execute(request_execution(number, traceparent=TRACEPARENT)).HasField("failure")
    assert log().count("spans of policies are not recorded") == 1


ODD = """
from opentelemetry import trace

class Odd:
    def __str__(self):
        raise ValueError("no text")

def on_request(ctx, params):
    tracer = trace.get_tracer("mine")
    for _ in range(3):
        tracer.start_span(Odd()).end()
    tracer.start_span("whole").end()
"""


def test_a_span_that_cannot_be_encoded_is_logged_once_and_harms_no_other(start: Start, log: Callable[[], str]) -> None:
    engine = start(ODD)
    assert not engine.execute(request_execution(1, traceparent=TRACEPARENT)).HasField("failure")
    engine.wait(lambda: engine.spans)
    (span,) = ResourceSpans.FromString(engine.spans[0]).scope_spans[0].spans
    assert span.name == "whole"
    assert eventually(lambda: "3 spans of policies were dropped" in log())
    assert log().count("a span could not be encoded") == 1
