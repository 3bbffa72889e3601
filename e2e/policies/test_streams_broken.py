"""Streams that break: what the client hears, that it never takes a part for the whole, and that nothing is left."""

from __future__ import annotations

import itertools
import json
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from e2e.kit.gateway import Gateway, Json, api, attach, eventually, running
from e2e.kit.model_upstream import ModelUpstream
from e2e.kit.policy_project import PolicyProject

pytestmark = pytest.mark.timeout(120)
PIECES = [f"piece {number}\n".encode() for number in range(6)]
WHOLE = b"".join(PIECES)
EXECUTOR = "executor-default-0"
CUT = (httpx.RemoteProtocolError, httpx.ReadError)


@pytest.fixture(scope="module")
def own_gateway(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway of this module's own: executors die here."""
    with running(build, tmp_path_factory.mktemp("broken"), "--executor-drain", "5s") as gateway:
        yield gateway


@pytest.fixture(scope="module")
def model() -> Iterator[ModelUpstream]:
    with ModelUpstream() as upstream:
        upstream.content_type = "text/plain"
        yield upstream


def faulty_stream(how: str, **params: object) -> Json:
    return attach("faulty-stream", {"how": how, **params}, timeout="1500ms")


def outcome(gateway: Gateway, name: str, **request: object) -> tuple[int, bytes, bool]:
    """The status, what came of the body, and whether it came to its end."""
    body = bytearray()
    with httpx.stream("POST", f"{gateway.url}/{name}/x", timeout=20, **request) as answer:  # type: ignore[arg-type]
        try:
            for part in answer.iter_raw():
                body += part
        except CUT:
            return answer.status_code, bytes(body), False
        return answer.status_code, bytes(body), True


# ---------------------------------------------------------------- what policies do


COMPLETE = {
    "more": b"".join(piece * 3 for piece in PIECES),
    "nothing": b"",
    "at-once": b"at once",
    "after-the-end": WHOLE + b"that was it",
    "text": WHOLE,
    "swallows-exit": WHOLE,
}


@pytest.mark.parametrize("how", COMPLETE)
def test_a_policy_may_yield_each_valid_chunk(how: str, own_gateway: Gateway, model: ModelUpstream) -> None:
    own_gateway.deploy(api("faulty", model.url, [faulty_stream(how)]))
    with model.answer_with(PIECES, permits=1):
        model.permit(len(PIECES))
        status, body, is_whole = outcome(own_gateway, "faulty")
    assert (status, is_whole) == (200, True)
    if how == "more":  # chunks may have been joined before the policy saw them
        assert len(body) == 3 * len(WHOLE)
    else:
        assert body == COMPLETE[how]


@pytest.mark.parametrize(("how", "status"), [("raises-before", 500), ("rejects-before", 418)])
@pytest.mark.parametrize("direction", ["request", "response"])
def test_before_the_headers_are_out_the_client_is_answered(
    how: str, status: int, direction: str, own_gateway: Gateway, model: ModelUpstream
) -> None:
    own_gateway.deploy(api("faulty", model.url, [faulty_stream(how, direction=direction)]))
    with model.answer_with(PIECES):
        answer = outcome(own_gateway, "faulty", content=b"a body")
    assert (answer[0], answer[2]) == (status, True)
    assert model.sent == 0 or direction == "response"
    if status == 500:
        assert json.loads(answer[1])["status"] == 500


def read_until_cut(url: str, model: ModelUpstream) -> bytes:
    """The part of a 200 that came before its stream was cut, as it must be."""
    body = bytearray()
    with httpx.stream("POST", url, timeout=20) as answer:
        assert answer.status_code == 200
        with pytest.raises(CUT):
            body.extend(itertools.chain.from_iterable(read_and_permit(answer, model)))
    return bytes(body)


@pytest.mark.parametrize("how", ["wrong-type", "never-ends", "raises-after", "raises-at-end", "rejects-after"])
def test_after_the_headers_are_out_the_stream_is_reset(how: str, own_gateway: Gateway, model: ModelUpstream) -> None:
    own_gateway.deploy(api("faulty", model.url, [faulty_stream(how)]))
    with model.answer_with(PIECES, permits=1):
        body = read_until_cut(f"{own_gateway.url}/faulty/x", model)
    assert WHOLE.startswith(body)
    eventually(
        "the log names it", lambda: any("faulty-stream" in json.dumps(record) for record in own_gateway.records())
    )


def test_the_stream_behind_one_that_fails_does_not_end_whole(own_gateway: Gateway, model: ModelUpstream) -> None:
    """Responses pass the last policy first; the other one is given its output in the process."""
    own_gateway.deploy(api("faulty", model.url, [attach("pass-stream"), faulty_stream("raises-at-end")]))
    with model.answer_with(PIECES, permits=2):
        body = read_until_cut(f"{own_gateway.url}/faulty/x", model)
    assert WHOLE.startswith(body)
    eventually("nothing is left", lambda: open_streams(own_gateway) == 0)


@pytest.mark.parametrize("how", ["blocks", "computes"])
def test_a_policy_that_blocks_its_event_loop_is_late(how: str, own_gateway: Gateway, model: ModelUpstream) -> None:
    """It is a 504 where its first chunk had not yet left when the loop was held up."""
    own_gateway.deploy(api("faulty", model.url, [faulty_stream(how, seconds=4)]))
    own_gateway.deploy(api("passing", model.url, [attach("pass-stream")]))
    with model.answer_with(PIECES):
        status, body, is_whole = outcome(own_gateway, "faulty")
        assert (status, is_whole) == (504, True) or (status, is_whole) == (200, False), body
        eventually("streams pass again", lambda: outcome(own_gateway, "passing") == (200, WHOLE, True), 20)


def read_and_permit(answer: httpx.Response, model: ModelUpstream) -> Iterator[bytes]:
    """Yields the pieces of the answer, and permits the upstream's next piece after each."""
    for part in answer.iter_raw():
        yield part
        model.permit()


@pytest.mark.parametrize("how", ["raises-after", "never-ends", "rejects-after"])
def test_a_request_that_was_cut_is_never_whole_upstream(how: str, own_gateway: Gateway, model: ModelUpstream) -> None:
    """Upstream answers only a body that has ended: here none does, and the client hears why."""
    own_gateway.deploy(api("faulty", model.url, [faulty_stream(how, direction="request")]))
    with model.answer_with(PIECES):
        status, _, _ = outcome(own_gateway, "faulty", content=iter([b"one", b"two"]))
        assert model.sent == 0
    assert status == {"raises-after": 500, "never-ends": 504, "rejects-after": 418}[how]


def test_a_policy_that_yields_endlessly_waits_for_its_reader(own_gateway: Gateway, model: ModelUpstream) -> None:
    own_gateway.deploy(api("faulty", model.url, [faulty_stream("endless")]))
    with model.answer_with(PIECES), httpx.stream("POST", f"{own_gateway.url}/faulty/x", timeout=20) as answer:
        received = 0
        for part in answer.iter_raw():
            received += len(part)
            if received > 8 << 20:
                break
    eventually("nothing is left", lambda: open_streams(own_gateway) == 0)


def test_a_policy_that_ignores_its_cancellation_is_abandoned(own_gateway: Gateway, model: ModelUpstream) -> None:
    own_gateway.deploy(api("faulty", model.url, [faulty_stream("swallows-exit")]))
    before = len(own_gateway.find_records(message="swallowed"))
    with model.answer_with(PIECES, permits=2):
        with httpx.stream("POST", f"{own_gateway.url}/faulty/x", timeout=20) as answer:
            assert next(answer.iter_raw())
        eventually("it has swallowed it", lambda: len(own_gateway.find_records(message="swallowed")) > before)
        eventually("upstream is left", model.gone.is_set)
    eventually("nothing is left", lambda: open_streams(own_gateway) == 0)


# ---------------------------------------------------------------- what clients do


def test_clients_that_reset_at_every_stage_leave_nothing(own_gateway: Gateway, model: ModelUpstream) -> None:
    own_gateway.deploy(api("passing", model.url, [attach("pass-stream", {"reports": True})]))
    head = b"POST /passing/x HTTP/1.1\r\nhost: x\r\ncontent-length: 20\r\n"
    stages = [head[:9], head, head + b"\r\n", head + b"\r\n" + b"x" * 10, head + b"\r\n" + b"x" * 20]
    with model.answer_with(PIECES, permits=0):
        for sent in stages * 4:
            reset_after(own_gateway, sent, 0)
    for count in range(1, len(PIECES)):
        eventually("no other client takes its pieces", lambda: open_streams(own_gateway) == 0)
        with model.answer_with(PIECES, permits=count):
            reset_after(own_gateway, stages[-1], count)
    eventually("nothing is left", lambda: open_streams(own_gateway) == 0)
    with model.answer_with(PIECES):
        assert outcome(own_gateway, "passing") == (200, WHOLE, True)


def reset_after(gateway: Gateway, sent: bytes, pieces: int) -> None:
    """Sends this, reads so many pieces of the answer, and ends the connection by RST."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sendall(sent)
        data = b""
        while data.count(b"piece") < pieces:
            data += client.recv(1 << 16)


def open_streams(gateway: Gateway) -> int:
    """Exchanges and executions that are under way."""
    stats = json.loads(gateway.admin("engine", "/stats"))
    return int(stats["extProc"]["active"] + sum(executor["underWay"] for executor in stats["executors"]))


# ---------------------------------------------------------------- what becomes of executors


def test_an_executor_that_dies_cuts_its_streams(own_gateway: Gateway, model: ModelUpstream) -> None:
    own_gateway.deploy(api("passing", model.url, [attach("pass-stream")]))
    url = f"{own_gateway.url}/passing/x"
    with model.answer_with(PIECES, permits=2), httpx.stream("POST", url, timeout=20) as answer:
        parts = answer.iter_raw()
        assert next(parts)
        killed = own_gateway.kill(EXECUTOR)
        with pytest.raises(CUT):
            list(parts)
    eventually("the executor is back", lambda: own_gateway.pid(EXECUTOR) not in {None, killed}, 20)
    with model.answer_with(PIECES):
        eventually("streams pass again", lambda: outcome(own_gateway, "passing") == (200, WHOLE, True), 20)


def test_an_executor_that_dies_before_the_first_chunk_is_an_answer(own_gateway: Gateway, model: ModelUpstream) -> None:
    own_gateway.deploy(api("faulty", model.url, [faulty_stream("exits", direction="request")]))
    with model.answer_with(PIECES):
        status, body, is_whole = outcome(own_gateway, "faulty", content=b"a body")
    assert (status, is_whole) == (503, True), body
    own_gateway.deploy(api("passing", model.url, [attach("pass-stream")]))
    with model.answer_with(PIECES):
        eventually("streams pass again", lambda: outcome(own_gateway, "passing") == (200, WHOLE, True), 20)


PASSING = """\
async def on_response_stream(ctx, chunks, params):
    async for chunk in chunks:
        yield chunk.replace(b"piece", b"{word}")
"""
STREAMING = "processingMode: {responseBodyMode: STREAM}\n"


@pytest.mark.slow("waits out a drain, which is long enough for a stream to end in it on any machine")
def test_while_code_changes_a_stream_ends_where_it_began_or_is_cut_after_the_drain(
    model: ModelUpstream, tmp_path: Path
) -> None:
    project = PolicyProject(tmp_path, "streams")
    project.write_policy("word", PASSING.format(word="first"), more=STREAMING)
    with running(None, tmp_path / "state", *project.arguments, "--executor-drain", "15s") as gateway:
        gateway.deploy(api("word", model.url, [attach("word")]))
        with model.answer_with(PIECES, permits=1), httpx.stream("POST", f"{gateway.url}/word/x", timeout=30) as answer:
            parts = answer.iter_raw()
            received = next(parts)
            change_word(project, gateway, "later")
            model.permit(len(PIECES) * 100)  # this one's, and those that follow
            eventually("new streams see the new code", lambda: b"later 0" in outcome(gateway, "word")[1])
            received += b"".join(parts)
        assert received == WHOLE.replace(b"piece", b"first")
        with model.answer_with(PIECES, permits=1), httpx.stream("POST", f"{gateway.url}/word/x", timeout=30) as answer:
            parts = answer.iter_raw()
            assert next(parts)
            change_word(project, gateway, "last")
            with pytest.raises(CUT):
                list(parts)


def change_word(project: PolicyProject, gateway: Gateway, word: str) -> None:
    project.write_policy("word", PASSING.format(word=word), more=STREAMING)
    result = gateway.reload()
    assert result.returncode == 0, result.stderr
