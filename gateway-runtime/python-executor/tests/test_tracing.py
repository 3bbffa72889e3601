"""Policies that call OpenTelemetry: their spans are children of their executions, and of no others."""

import itertools
from collections.abc import Callable
from typing import NamedTuple

from gatewright_executor.running.latency import RUN
from gatewright_executor.testing import Engine, piece, request_execution, request_stream, response_execution
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

Start = Callable[..., Engine]
EXECUTION_SPAN = "00f067aa0ba902b7"
NUMBERS = itertools.count(1)


class Recorded(NamedTuple):
    """The fields of a span that tests compare."""

    name: str
    trace: str
    parent: str  # its name, or the span id of a parent that is not ours


def traceparent(number: int, *, flags: str = "01") -> str:
    """A traceparent of the trace with this number."""
    return f"00-{number:032x}-{EXECUTION_SPAN}-{flags}"


def recorded(engine: Engine) -> list[Recorded]:
    spans = [
        span
        for batch in engine.spans
        for scope in ResourceSpans.FromString(batch).scope_spans
        for span in scope.spans
    ]  # fmt: skip
    names = {span.span_id: span.name for span in spans}
    return [
        Recorded(span.name, span.trace_id.hex(), names.get(span.parent_span_id, span.parent_span_id.hex()))
        for span in spans
    ]


def of_trace(engine: Engine, number: int) -> set[tuple[str, str]]:
    """Name and parent of each span of a trace."""
    return {(name, parent) for name, trace, parent in recorded(engine) if trace == f"{number:032x}"}


MARKS = """
    from opentelemetry import trace

    def on_request(ctx, params):
        trace.get_tracer("marks").start_span("mark").end()
"""


def all_recorded(engine: Engine, mark: int = 99) -> list[Recorded]:
    """All spans so far. Waits for a span of the policy `marks` behind them: spans leave in the order of their ends."""
    number = next(NUMBERS) + 10_000
    engine.configure(mark, "marks:v1.0.0")
    engine.execute(request_execution(number, mark, traceparent=traceparent(number)))
    trace = f"{number:032x}"
    engine.wait(lambda: [span for span in recorded(engine) if span.trace == trace])
    return [span for span in recorded(engine) if span.name != "mark"]


SYNC = """
    from opentelemetry import trace

    tracer = trace.get_tracer("mine", "1.2.3")

    def on_request(ctx, params):
        with tracer.start_as_current_span("outer"):
            with tracer.start_as_current_span("inner"):
                pass
        tracer.start_span("sibling").end()

    def on_response(ctx, params):
        tracer.start_span("response").end()
"""


def test_spans_of_a_plain_function_are_children_of_its_execution_in_workers_and_where_it_was_read(
    start_engine: Start,
) -> None:
    engine = start_engine(sync=SYNC, marks=MARKS)
    engine.configure(1, "sync:v1.0.0")
    numbers = range(1, RUN + 10)  # the last ones run in the thread that read them
    for number in numbers:
        engine.execute(request_execution(number, traceparent=traceparent(number)))
    all_recorded(engine)
    expected = {("outer", EXECUTION_SPAN), ("inner", "outer"), ("sibling", EXECUTION_SPAN)}
    assert [of_trace(engine, number) for number in numbers] == [expected] * len(numbers)


def test_a_response_has_its_own_parent(start_engine: Start) -> None:
    engine = start_engine(sync=SYNC, marks=MARKS)
    engine.configure(1, "sync:v1.0.0")
    response = response_execution(1)
    response.traceparent = traceparent(7).encode()
    engine.execute(response)
    assert all_recorded(engine) == [Recorded("response", f"{7:032x}", EXECUTION_SPAN)]


def test_sent_spans_name_their_policy(start_engine: Start) -> None:
    engine = start_engine(sync=SYNC, marks=MARKS)
    engine.configure(1, "sync:v1.0.0")
    engine.execute(request_execution(1, traceparent=traceparent(1)))
    all_recorded(engine)
    batch = ResourceSpans.FromString(engine.spans[0])
    resource = {pair.key: pair.value for pair in batch.resource.attributes}
    assert resource["telemetry.sdk.language"].string_value == "python"
    assert resource["process.pid"].int_value == engine.hello.pid
    scopes = {scope.scope.name: scope for scope in batch.scope_spans}
    assert scopes["mine"].scope.version == "1.2.3"
    for span in scopes["mine"].spans:
        assert {pair.key: pair.value.string_value for pair in span.attributes} == {"gatewright.policy": "sync:v1.0.0"}
        assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano


def test_nothing_of_an_untraced_execution_is_recorded_whatever_ran_before_in_its_thread(start_engine: Start) -> None:
    engine = start_engine(workers=1, sync=SYNC, marks=MARKS)
    engine.configure(1, "sync:v1.0.0")
    traced = [number for number in range(1, RUN + 20) if number % 3 == 0]
    for number in range(1, RUN + 20):
        engine.execute(request_execution(number, traceparent=traceparent(number) if number in traced else ""))
    assert {span.trace for span in all_recorded(engine)} == {f"{number:032x}" for number in traced}
    assert len(recorded(engine)) == 3 * len(traced) + 1


LEAVES = """
    from opentelemetry import context, trace
    from opentelemetry.propagate import extract

    tracer = trace.get_tracer("mine")

    def on_request(ctx, params):
        if ctx.traceparent:
            context.attach(trace.set_span_in_context(tracer.start_span("left")))  # and never detached
        else:
            tracer.start_span("none", context=extract(dict(ctx.headers))).end()
            tracer.start_span("none either").end()
"""


def test_what_a_policy_leaves_in_its_context_reaches_no_other_execution(start_engine: Start) -> None:
    engine = start_engine(workers=1, leaves=LEAVES, marks=MARKS)
    engine.configure(1, "leaves:v1.0.0")
    for number in range(1, RUN + 10):
        engine.execute(request_execution(2 * number, traceparent=traceparent(number)))
        engine.execute(request_execution(2 * number + 1, headers={"traceparent": traceparent(500)}))
    assert all_recorded(engine) == []


def test_a_parent_that_is_not_sampled_records_nothing(start_engine: Start) -> None:
    engine = start_engine(sync=SYNC, marks=MARKS)
    engine.configure(1, "sync:v1.0.0")
    engine.execute(request_execution(1, traceparent=traceparent(1, flags="00")))
    engine.execute(request_execution(2, traceparent="not a traceparent"))
    assert all_recorded(engine) == []


COROUTINE = """
    import asyncio
    from opentelemetry import trace

    tracer = trace.get_tracer("mine")

    async def part(name):
        with tracer.start_as_current_span(name):
            await asyncio.sleep(0.002)
            tracer.start_span(f"in {name}").end()

    def blocking():
        tracer.start_span("in a thread").end()

    async def on_request(ctx, params):
        with tracer.start_as_current_span("outer"):
            await asyncio.sleep(0.001)
            async with asyncio.TaskGroup() as group:
                group.create_task(part("one"))
                group.create_task(part("two"))
            await asyncio.to_thread(blocking)
        await asyncio.sleep(0)
        tracer.start_span("last").end()
"""
OF_A_COROUTINE = {
    ("outer", EXECUTION_SPAN),
    ("one", "outer"),
    ("in one", "one"),
    ("two", "outer"),
    ("in two", "two"),
    ("in a thread", "outer"),
    ("last", EXECUTION_SPAN),
}


def test_coroutines_at_once_on_one_loop_have_each_their_own_parents_in_tasks_and_threads_too(
    start_engine: Start,
) -> None:
    engine = start_engine(coroutine=COROUTINE, marks=MARKS)
    engine.configure(1, "coroutine:v1.0.0")
    numbers = range(1, 41)
    engine.send(
        *(request_execution(number, traceparent=traceparent(number) if number % 2 else "") for number in numbers)
    )
    for number in numbers:
        engine.action(number)
    all_recorded(engine)
    assert [of_trace(engine, number) for number in numbers] == [
        OF_A_COROUTINE if number % 2 else set() for number in numbers
    ]


STREAM = """
    import asyncio
    from opentelemetry import trace

    tracer = trace.get_tracer("mine")

    async def on_request_stream(ctx, chunks, params):
        tracer.start_span("begin").end()
        with tracer.start_as_current_span("whole"):
            async for chunk in chunks:
                with tracer.start_as_current_span(f"chunk {chunk.decode()}"):
                    await asyncio.sleep(0)
                    yield chunk
                    tracer.start_span(f"after {chunk.decode()}").end()
        tracer.start_span("end").end()
"""
OF_A_STREAM = {
    ("begin", EXECUTION_SPAN),
    ("whole", EXECUTION_SPAN),
    ("chunk a", "whole"),
    ("after a", "chunk a"),
    ("chunk b", "whole"),
    ("after b", "chunk b"),
    ("end", EXECUTION_SPAN),
}


def test_streams_that_take_turns_on_one_loop_have_each_their_own_parents_in_every_step(start_engine: Start) -> None:
    engine = start_engine(stream=STREAM, marks=MARKS)
    engine.configure(1, "stream:v1.0.0")
    numbers = range(1, 21)
    engine.send(*(request_stream(number, traceparent=traceparent(number) if number % 2 else "") for number in numbers))
    for data in (b"a", b"b"):
        engine.send(pieces=[piece(number, data) for number in numbers])
        for number in numbers:
            engine.wait(lambda number=number, data=data: engine.yielded(number).endswith(data))  # type: ignore[misc]
    engine.send(pieces=[piece(number, last=True) for number in numbers])
    for number in numbers:
        engine.action(number)
    all_recorded(engine)
    assert [of_trace(engine, number) for number in numbers] == [
        OF_A_STREAM if number % 2 else set() for number in numbers
    ]


def test_the_spans_of_a_stream_that_is_cancelled_end_with_it(start_engine: Start) -> None:
    engine = start_engine(stream=STREAM, marks=MARKS)
    engine.configure(1, "stream:v1.0.0")
    engine.send(request_stream(1, traceparent=traceparent(1)), pieces=[piece(1, b"a")])
    engine.wait(lambda: engine.yielded(1) == b"a")
    engine.send(cancel=[1])
    engine.wait(lambda: [span for span in recorded(engine) if span.name == "whole"])
    assert of_trace(engine, 1) == {
        ("begin", EXECUTION_SPAN), ("whole", EXECUTION_SPAN), ("chunk a", "whole"), ("after a", "chunk a"),
    }  # fmt: skip


BEFORE = """
    import asyncio
    from opentelemetry import trace

    tracer = trace.get_tracer("mine")
    tracer.start_span("imported").end()
    given = asyncio.Queue()

    async def background():
        while True:
            tracer.start_span("background").end()
            (await given.get()).set()

    async def prepare(params):
        with tracer.start_as_current_span("prepared"):
            asyncio.create_task(background())
        yield

    async def on_request(ctx, params):
        seen = asyncio.Event()
        given.put_nowait(seen)
        await seen.wait()
        tracer.start_span("execution").end()
"""


def test_spans_outside_of_executions_are_not_recorded(start_engine: Start) -> None:
    engine = start_engine(before=BEFORE, marks=MARKS)
    all_recorded(engine)  # so that there is a provider
    engine.configure(1, "before:v1.0.0")
    for number in (1, 2):
        engine.execute(request_execution(number, traceparent=traceparent(number)))
    assert [span.name for span in all_recorded(engine)] == ["execution", "execution"]


THREADS = """
    import contextvars, threading
    from opentelemetry import context, trace

    tracer = trace.get_tracer("mine")

    def work(name, given=None):
        token = context.attach(given) if given is not None else None
        tracer.start_span(name).end()

    def on_request(ctx, params):
        with tracer.start_as_current_span("outer"):
            threads = [
                threading.Thread(target=contextvars.copy_context().run, args=[work, "copied"]),
                threading.Thread(target=work, args=["given", context.get_current()]),
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
"""


def test_a_thread_that_is_given_the_context_has_the_parent(start_engine: Start) -> None:
    engine = start_engine(threads=THREADS, marks=MARKS)
    engine.configure(1, "threads:v1.0.0")
    engine.execute(request_execution(1, traceparent=traceparent(1)))
    all_recorded(engine)
    assert of_trace(engine, 1) == {("outer", EXECUTION_SPAN), ("copied", "outer"), ("given", "outer")}


LATER = """
    import asyncio
    from opentelemetry import trace

    tracer = trace.get_tracer("mine")
    tasks = set()

    async def later():
        await asyncio.sleep(0.01)
        tracer.start_span("later").end()

    async def on_request(ctx, params):
        tasks.add(asyncio.create_task(later()))
"""


def test_a_task_that_outlives_its_execution_still_belongs_to_it(start_engine: Start) -> None:
    engine = start_engine(later=LATER)
    engine.configure(1, "later:v1.0.0")
    engine.execute(request_execution(1, traceparent=traceparent(1)))
    engine.execute(request_execution(2))
    engine.wait(lambda: of_trace(engine, 1) == {("later", EXECUTION_SPAN)})


INJECTS = """
    from gatewright.policy import UpstreamRequestModifications
    from opentelemetry import propagate

    def on_request(ctx, params):
        carrier = {}
        propagate.inject(carrier)
        return UpstreamRequestModifications(set_headers={"x-own": ctx.traceparent, **carrier})
"""


def test_calls_of_a_policy_carry_the_trace_and_its_state(start_engine: Start) -> None:
    engine = start_engine(injects=INJECTS)
    engine.configure(1, "injects:v1.0.0")

    def injected(number: int, **headers: str) -> bytes:
        execution = request_execution(number, headers=headers, traceparent=traceparent(3) if number else "")
        return engine.execute(execution).set_headers

    own = f"x-own\0{traceparent(3)}\0".encode()
    injected_header = f"traceparent\0{traceparent(3)}\0".encode()
    state = b"tracestate\0vendor=1\0"
    assert injected(1) == own + injected_header
    of_same_trace = traceparent(3).replace(EXECUTION_SPAN, "1" * 16)
    assert injected(2, traceparent=of_same_trace, tracestate="vendor=1") == own + injected_header + state
    assert injected(3, traceparent=traceparent(4), tracestate="vendor=1") == own + injected_header
    assert injected(0, traceparent=traceparent(4), tracestate="vendor=1") == b"x-own\0\0"


FAILS = """
    from opentelemetry import trace

    tracer = trace.get_tracer("mine")

    async def on_request(ctx, params):
        with tracer.start_as_current_span("fails"):
            raise LookupError("nothing there")
"""


def test_the_span_of_a_failure_has_its_error(start_engine: Start) -> None:
    engine = start_engine(fails=FAILS, marks=MARKS)
    engine.configure(1, "fails:v1.0.0")
    assert engine.execute(request_execution(1, traceparent=traceparent(1))).failure.message.startswith("LookupError")
    all_recorded(engine)
    span = ResourceSpans.FromString(engine.spans[0]).scope_spans[0].spans[0]
    assert (span.status.code, span.status.message) == (2, "LookupError: nothing there")
    assert [event.name for event in span.events] == ["exception"]


def test_another_engine_gets_the_spans_of_its_own_executions(serve: Callable[..., object]) -> None:
    socket = serve(sync=SYNC, marks=MARKS)
    for number in (1, 2):
        with Engine(socket) as engine:  # type: ignore[arg-type]
            engine.configure(1, "sync:v1.0.0")
            engine.execute(request_execution(1, traceparent=traceparent(number)))
            assert {span.trace for span in all_recorded(engine)} == {f"{number:032x}"}
