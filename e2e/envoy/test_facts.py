"""The behaviour of Envoy's ext_proc that the gateway relies on: a new Envoy that behaves otherwise must be noticed.

docs/reference/envoy.md lists the facts. Unwelcome ones are here too: the day one of these tests fails, a decision
may be taken back.
"""

from __future__ import annotations

import contextlib
import json
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from envoy.extensions.filters.http.ext_proc.v3 import processing_mode_pb2
from envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingResponse

from e2e.kit.gateway import Json, eventually
from e2e.kit.lone_envoy import (
    BODY,
    HEADERS,
    HEADERS_BOTH_WAYS,
    MODES,
    Engine,
    LoneEnvoy,
    Messages,
    bootstrap,
    cluster,
    continue_unchanged,
    continue_with_headers,
    ext_proc_filter,
    immediate_response,
    lone_envoy,
    route,
    streamed_piece,
)
from e2e.kit.places import ROOT
from e2e.kit.upstream import Upstream
from e2e.kit.wire import Shape, http1, http2

ACTION_VALUES = ROOT / "conformance" / "action-values.json"
BODY_AND_RESPONSE = "SEND FULL_DUPLEX_STREAMED SEND SEND NONE SKIP"
TRAILERS_ONLY = Shape("trailers without DATA", trailers=[("x-trailer", "t")])
GET = Shape("GET", "GET")


def passes(messages: Messages, _: grpc.ServicerContext) -> Iterator[object]:
    for message in messages:
        yield continue_unchanged(message.WhichOneof("request"))


def passes_and_ends(messages: Messages, _: grpc.ServicerContext) -> Iterator[object]:
    next(messages)
    return
    yield


def breaks_off(messages: Messages, context: grpc.ServicerContext) -> Iterator[object]:
    next(messages)
    context.abort(grpc.StatusCode.INTERNAL, "no")
    yield


def denies(messages: Messages, _: grpc.ServicerContext) -> Iterator[object]:
    next(messages)
    yield immediate_response()


def denies_the_body(messages: Messages, _: grpc.ServicerContext) -> Iterator[object]:
    for message in messages:
        if message.WhichOneof("request") == "request_body":
            yield immediate_response()
            return
        yield continue_unchanged(message.WhichOneof("request"))


def holds_until_the_end(messages: Messages, _: grpc.ServicerContext) -> Iterator[object]:
    """Headers, too, are answered when the body has ended."""
    body, trailers = b"", False
    for message in messages:
        body += message.request_body.body
        trailers = message.WhichOneof("request") == "request_trailers"
        if message.request_body.end_of_stream or trailers:
            break
    yield continue_with_headers(x_length=str(len(body)))
    yield streamed_piece(body, not trailers)
    if trailers:
        yield continue_unchanged("request_trailers")


def never_answers(messages: Messages, _: grpc.ServicerContext) -> Iterator[object]:
    """Waits until Envoy gives the stream up."""
    with contextlib.suppress(grpc.RpcError):
        for _ in messages:
            pass
    return
    yield


def routes(**modes: str) -> list[Json]:
    return [route(name, mode) for name, mode in modes.items()]


# ---------------------------------------------------------------- 1: bodies


def test_1_a_request_without_data_skips_buffered_body_messages_but_not_streamed_ones(upstream: Upstream) -> None:
    engine = Engine(buffered=denies_the_body, duplex=holds_until_the_end)
    with lone_envoy(upstream, engine, routes(buffered="SEND BUFFERED SKIP SKIP NONE SKIP", duplex=BODY)) as envoy:
        assert http2(envoy.port, "/buffered/x", TRAILERS_ONLY).status == 200
        assert len(upstream.received) == 1
        assert engine.kinds == ["request_headers"]
        engine.kinds.clear()
        http2(envoy.port, "/duplex/x", TRAILERS_ONLY)
        assert engine.kinds == ["request_headers", "request_trailers"]


def test_1_time_that_a_streamed_body_is_held_does_not_count(upstream: Upstream) -> None:
    def change(config: Json) -> None:
        ext_proc_filter(config)["message_timeout"] = "0.8s"

    engine = Engine(duplex=holds_until_the_end, late=never_answers)
    with lone_envoy(upstream, engine, routes(duplex=BODY, late=HEADERS), change) as envoy:
        with socket.create_connection(("127.0.0.1", envoy.port), timeout=10) as connection:
            connection.sendall(b"POST /duplex/x HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\nabc")
            eventually("the engine has a piece of the body", lambda: "request_body" in engine.kinds)
            assert http1(envoy.port, "/late/x", GET).status == 504, "by Envoy's own clock, message_timeout is over"
            connection.sendall(b"def")
            assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
        (request,) = upstream.received
        assert (request.value("x-length"), request.body) == ("6", b"abcdef")


# ---------------------------------------------------------------- 3: how a stream ends


def test_3_a_stream_that_ends_well_lets_the_request_go_on_and_an_error_stops_it(upstream: Upstream) -> None:
    engine = Engine(well=passes_and_ends, error=breaks_off)
    with lone_envoy(upstream, engine, routes(well=HEADERS, error=HEADERS)) as envoy:
        assert http1(envoy.port, "/well/x", GET).status == 200
        assert len(upstream.received) == 1
        assert http1(envoy.port, "/error/x", GET).status == 503, "status_on_error of the bootstrap"
        assert len(upstream.received) == 1


# ---------------------------------------------------------------- 4, 6: what an engine may change


def moves(messages: Messages, _: grpc.ServicerContext) -> Iterator[object]:
    next(messages)
    answer = continue_with_headers(pseudo_path="/other/x")
    answer.request_headers.response.clear_route_cache = True
    yield answer


@pytest.mark.parametrize(("action", "taken"), [("RETAIN", "moved"), ("DEFAULT", "other")])
def test_4_a_changed_path_keeps_its_route_only_if_the_route_cache_is_retained(
    upstream: Upstream, action: str, taken: str
) -> None:
    def change(config: Json) -> None:
        assert ext_proc_filter(config)["route_cache_action"] == "RETAIN"
        ext_proc_filter(config)["route_cache_action"] = action

    engine = Engine(moved=moves, other=denies)
    with lone_envoy(upstream, engine, routes(moved=HEADERS, other=HEADERS), change) as envoy:
        assert http1(envoy.port, "/moved/x", GET).value("x-route") == taken
        assert engine.kinds == ["request_headers"], "the other route's policies do not run in either case"


@pytest.mark.parametrize("allowed", [True, False])
def test_6_routing_headers_change_only_where_the_rules_allow_it(upstream: Upstream, allowed: bool) -> None:
    def change(config: Json) -> None:
        assert ext_proc_filter(config)["mutation_rules"]["allow_all_routing"]
        if not allowed:
            del ext_proc_filter(config)["mutation_rules"]

    def retargets(messages: Messages, _: grpc.ServicerContext) -> Iterator[object]:
        next(messages)
        yield continue_with_headers(pseudo_method="PUT", pseudo_authority="other.test")

    with lone_envoy(upstream, Engine(a=retargets), routes(a=HEADERS), change) as envoy:
        assert http1(envoy.port, "/a/x", GET).status == 200, "what is not allowed is dropped without a word"
    (request,) = upstream.received
    expected = ("PUT", "other.test") if allowed else ("GET", "test.local")
    assert (request.method, request.value("host")) == expected


# ---------------------------------------------------------------- 8, 9: which phases there are


def test_8_an_engine_that_is_late_is_a_504(upstream: Upstream) -> None:
    def change(config: Json) -> None:
        assert ext_proc_filter(config)["message_timeout"] == "60s"
        ext_proc_filter(config)["message_timeout"] = "0.2s"

    with lone_envoy(upstream, Engine(late=never_answers), routes(late=HEADERS), change) as envoy:
        answer = http1(envoy.port, "/late/x", GET)
    assert (answer.status, answer.value("content-type"), upstream.received) == (504, "application/problem+json", [])


def test_9_an_answer_of_the_engine_does_not_come_back_but_one_of_envoy_does(upstream: Upstream) -> None:
    engine = Engine(denied=denies, nowhere=passes)
    nowhere = route("nowhere", HEADERS_BOTH_WAYS, "nowhere")
    with lone_envoy(upstream, engine, [route("denied", HEADERS_BOTH_WAYS), nowhere]) as envoy:
        assert http1(envoy.port, "/denied/x", GET).status == 403
        assert engine.kinds == ["request_headers"]
        engine.kinds.clear()
        assert http1(envoy.port, "/nowhere/x", GET).status == 503
        assert engine.kinds == ["request_headers", "response_headers"]


def test_9_a_response_comes_first_where_request_headers_are_skipped_or_an_upgrade_is_refused(
    upstream: Upstream,
) -> None:
    engine = Engine(refused=denies)
    both = [route("skipped", "SKIP NONE SKIP SEND NONE SKIP"), route("upgrade", HEADERS_BOTH_WAYS)]
    upgrade = [("connection", "upgrade"), ("upgrade", "websocket")]
    with lone_envoy(upstream, engine, both) as envoy:
        http1(envoy.port, "/skipped/x", GET)
        http1(envoy.port, "/upgrade/x", Shape("upgrade", "GET", headers=upgrade))
    assert engine.kinds == ["response_headers", "response_headers"]


# ---------------------------------------------------------------- the response of one exchange alone


def wants_the_response(answer: Any, modes: str) -> Any:
    """The answer, with these modes for the rest of the exchange."""
    for name, value in zip(MODES, modes.split(), strict=True):
        setattr(answer.mode_override, name, value)
    return answer


def asks_for_the_response(messages: Messages, _: grpc.ServicerContext) -> Iterator[object]:
    next(messages)
    yield wants_the_response(continue_unchanged("request_headers"), HEADERS_BOTH_WAYS)
    yield continue_unchanged(next(messages).WhichOneof("request"))


def asks_beside_a_body(messages: Messages, _: grpc.ServicerContext) -> Iterator[object]:
    next(messages)
    yield wants_the_response(continue_unchanged("request_headers"), BODY_AND_RESPONSE)
    for message in messages:
        if message.WhichOneof("request") == "response_headers":
            yield continue_unchanged("response_headers")
            return
        yield streamed_piece(message.request_body.body, message.request_body.end_of_stream)


def asks_before(messages: Messages, _: grpc.ServicerContext) -> Iterator[object]:
    next(messages)
    yield wants_the_response(ProcessingResponse(), HEADERS_BOTH_WAYS)
    yield continue_unchanged("request_headers")
    yield continue_unchanged(next(messages).WhichOneof("request"))


def test_an_answer_to_the_headers_may_ask_for_the_response_and_no_other_message(upstream: Upstream) -> None:
    def change(config: Json) -> None:
        assert ext_proc_filter(config)["allow_mode_override"], "expected the listener that ships to allow it"

    engine = Engine(headers=asks_for_the_response, body=asks_beside_a_body, before=asks_before)
    routes_of_test = routes(headers=HEADERS, body=BODY, before=HEADERS)
    with lone_envoy(upstream, engine, routes_of_test, change) as envoy:
        assert http1(envoy.port, "/headers/x", GET).status == 200
        assert engine.kinds == ["request_headers", "response_headers"]
        engine.kinds.clear()
        assert http1(envoy.port, "/body/x", Shape("POST", data=[b"abc"])).status == 200
        assert engine.kinds[0] == "request_headers"
        assert engine.kinds.count("response_headers") == 1
        engine.kinds.clear()
        assert http1(envoy.port, "/before/x", GET).status == 503
        assert envoy.stat("spurious_msgs_received") == 1
    assert [request.body for request in upstream.received] == [b"", b"abc"]


# ---------------------------------------------------------------- 11: failure_mode_allow


def breaks_off_in_the_body(messages: Messages, context: grpc.ServicerContext) -> Iterator[object]:
    next(messages)
    yield continue_unchanged("request_headers")
    yield streamed_piece(next(messages).request_body.body, last=False)
    context.abort(grpc.StatusCode.INTERNAL, "no")


def test_11_a_route_may_go_on_without_the_engine_until_body_bytes_went_out(upstream: Upstream) -> None:
    engine = Engine(open=breaks_off, closed=breaks_off, body=breaks_off_in_the_body)
    fails_open = [route("open", HEADERS, failure_mode_allow=True), route("body", BODY, failure_mode_allow=True)]
    with lone_envoy(upstream, engine, [*fails_open, route("closed", HEADERS)]) as envoy:
        assert http1(envoy.port, "/open/x", GET).status == 200
        assert http1(envoy.port, "/closed/x", GET).status == 503
        half = Shape("chunked", data=[b"abc", b"d" * 200_000], chunked=True)
        assert http1(envoy.port, "/body/x", half).status in {500, 503}
    assert [request.target for request in upstream.received] == ["/open/x"]


# ---------------------------------------------------------------- 14: mutations


def test_14_append_action_of_0_overwrites(upstream: Upstream) -> None:
    def appends(messages: Messages, _: grpc.ServicerContext) -> Iterator[object]:
        next(messages)
        yield continue_with_headers(append_x_a="2")

    with lone_envoy(upstream, Engine(a=appends), routes(a=HEADERS)) as envoy:
        http1(envoy.port, "/a/x", Shape("x", "GET", headers=[("x-a", "1")]))
    assert upstream.received[0].values("x-a") == [b"2"], "expected what made the engine set the old field `append`"


def test_14_a_control_character_in_a_header_is_an_error_of_the_exchange(upstream: Upstream) -> None:
    """Of all characters up to U+00FF (as UTF-8), only those that conformance/action-values.json refuses are errors."""

    def sets(messages: Messages, _: grpc.ServicerContext) -> Iterator[object]:
        target = next(header for header in next(messages).request_headers.headers.headers if header.key == ":path")
        yield continue_with_headers(x_a=f"b{chr(int(target.raw_value.rsplit(b'/', 1)[1]))}c")

    refused = json.loads(ACTION_VALUES.read_text())["headerValue"]["allBut"]
    with lone_envoy(upstream, Engine(a=sets), routes(a=HEADERS)) as envoy:
        for number in range(256):
            expected = 503 if number in refused else 200
            assert http1(envoy.port, f"/a/{number}", GET).status == expected, hex(number)
    assert len(upstream.received) == 256 - len(refused)


def test_14_replacing_the_body_with_the_headers_takes_the_length_away(upstream: Upstream) -> None:
    def adds(messages: Messages, _: grpc.ServicerContext) -> Iterator[object]:
        next(messages)
        yield continue_with_headers("CONTINUE_AND_REPLACE", b"added", content_length="5")

    with lone_envoy(upstream, Engine(a=adds), routes(a=HEADERS)) as envoy:
        assert http1(envoy.port, "/a/x", GET).status == 200
    (request,) = upstream.received
    assert (request.body, request.value("content-length")) == (b"added", None)
    assert request.value("transfer-encoding") == "chunked"


def test_pieces_for_a_request_of_headers_and_trailers_are_an_error(upstream: Upstream) -> None:
    def adds(messages: Messages, _: grpc.ServicerContext) -> Iterator[object]:
        assert [next(messages).WhichOneof("request") for _ in range(2)] == ["request_headers", "request_trailers"]
        yield continue_with_headers()
        yield streamed_piece(b"added", last=False)
        yield continue_unchanged("request_trailers")

    with lone_envoy(upstream, Engine(a=adds), routes(a=BODY)) as envoy:
        assert http2(envoy.port, "/a/x", TRAILERS_ONLY).status == 503, "status_on_error of the bootstrap"
    assert upstream.received == []


def test_a_change_beyond_the_limits_of_headers_is_an_error_without_a_name(upstream: Upstream) -> None:
    def sets(messages: Messages, _: grpc.ServicerContext) -> Iterator[object]:
        path = next(h.raw_value for h in next(messages).request_headers.headers.headers if h.key == ":path")
        count, size = map(int, path.rsplit(b"/", 1)[1].split(b"x"))
        yield continue_with_headers("CONTINUE", None, **{f"x_{n}": "v" * size for n in range(count)})

    with lone_envoy(upstream, Engine(a=sets), routes(a=HEADERS)) as envoy:
        for few in ("200x1", "2x64000"):
            assert http1(envoy.port, f"/a/{few}", GET).status == 200
        for many in ("300x1", "3x100000"):
            answer = http1(envoy.port, f"/a/{many}", GET)
            assert (answer.status, b"policies" in answer.body) == (503, True), answer
    assert len(upstream.received) == 2


# ---------------------------------------------------------------- what the first message says


def test_the_first_message_says_the_modes_of_the_route_and_its_name(upstream: Upstream) -> None:
    engine = Engine(a=denies, b=denies)
    with lone_envoy(upstream, engine, routes(a=BODY, b=HEADERS)) as envoy:
        http1(envoy.port, "/a/x", GET)
        http1(envoy.port, "/b/x", GET)
    modes = processing_mode_pb2.ProcessingMode
    announced_modes = [message.protocol_config.request_body_mode for message in engine.messages]
    assert announced_modes == [modes.FULL_DUPLEX_STREAMED, modes.NONE]
    (attributes,) = (message.attributes for message in engine.messages[:1])
    assert attributes["envoy.filters.http.ext_proc"]["xds.route_name"] == "a"
    assert attributes["envoy.filters.http.ext_proc"]["source.address"].startswith("127.0.0.1:")


# ---------------------------------------------------------------- 19: Envoy's own answers


def test_19_envoys_own_answers_are_problems_and_those_of_policies_stay(upstream: Upstream) -> None:
    def answers(messages: Messages, _: grpc.ServicerContext) -> Iterator[object]:
        path = next(h.raw_value for h in next(messages).request_headers.headers.headers if h.key == ":path")
        yield immediate_response(int(path.rsplit(b"/", 1)[1]), b"of a policy")

    with socket.create_server(("127.0.0.1", 0)) as silent:

        def change(config: Json) -> None:
            config["static_resources"]["clusters"].append(cluster("silent", silent.getsockname()[1]))

        own = [
            route("answers", HEADERS),
            route("nowhere", None, "nowhere"),
            route("slow", None, "silent", timeout="0.2s"),
        ]
        with lone_envoy(upstream, Engine(answers=answers), own, change) as envoy:
            for status in (400, 404, 408, 413, 426, 431, 500, 503, 504):
                answer = http1(envoy.port, f"/answers/{status}", GET)
                assert (answer.status, answer.body) == (status, b"of a policy")
                assert answer.value("content-type") == "text/plain"
            assert own_answer(envoy, "/no-such-route") == (404, "Not Found", "There is no such route.")
            assert own_answer(envoy, "/nowhere/x") == (503, "Service Unavailable", "The upstream is not available.")
            assert own_answer(envoy, "/slow/x") == (504, "Gateway Timeout", "The upstream did not answer in time.")


def own_answer(envoy: LoneEnvoy, path: str) -> tuple[int, str, str]:
    answer = httpx.get(f"http://127.0.0.1:{envoy.port}{path}")
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["type"], problem["status"]) == ("about:blank", answer.status_code)
    assert problem["requestId"]
    return answer.status_code, problem["title"], problem["detail"]


# ---------------------------------------------------------------- 25: xDS


def test_25_envoy_finds_an_engine_that_was_long_away_soon() -> None:
    with tempfile.TemporaryDirectory(prefix="gw-") as name:
        directory = Path(name)
        envoy = LoneEnvoy(directory, bootstrap(directory))
        try:
            failed = "cluster.gatewright_xds.upstream_cx_connect_fail"
            eventually("Envoy has tried often", lambda: envoy.answers() and envoy.stat(failed) >= 10, 20)
            with socket.socket(socket.AF_UNIX) as engine:
                engine.bind(str(directory / "xds"))
                engine.listen()
                engine.settimeout(2.0)  # twice what its longest back-off makes likely; the default climbs to 30 s
                connection, _ = engine.accept()
                connection.close()
        finally:
            envoy.stop()
