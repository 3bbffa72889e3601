from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import pytest
from gatewright_cli.local_http import Answer, LocalClient, LocalHttpError

if TYPE_CHECKING:
    from cli.tests.conftest import Bench

Ask = Callable[[LocalClient], Coroutine[Any, Any, Answer]]


def ask_server(bench: Bench, reply: bytes, ask: Ask, pieces: int = 1) -> tuple[Answer, bytes]:
    """The answer, and the bytes of the request."""
    path, sent, answers = bench.folder / "s", bytearray(), list[Answer]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent.extend(await reader.readuntil(b"\r\n\r\n"))
        if b"content-length: " in sent:
            sent.extend(await reader.readexactly(int(sent.partition(b"content-length: ")[2].split(b"\r\n")[0])))
        step = len(reply) // pieces + 1
        for start in range(0, len(reply), step):
            writer.write(reply[start : start + step])
            await writer.drain()
            await asyncio.sleep(0)

    async def live() -> None:
        async with bench.serving(path, serve):
            answers.append(await ask(LocalClient(path, "http://process", 2.0)))

    bench.run(live())
    return answers[0], bytes(sent)


REPLIES = {
    b"content-length: 5\r\n\r\nhello": b"hello",
    b"transfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n": b"hello",
    b"\r\nuntil the end": b"until the end",
}


@pytest.mark.parametrize("rest", REPLIES)
@pytest.mark.parametrize("pieces", [1, 7, 40])
def test_an_answer_however_it_is_framed_and_cut(bench: Bench, rest: bytes, pieces: int) -> None:
    answer, sent = ask_server(
        bench, b"HTTP/1.1 200 OK\r\nX-One: 1\r\n" + rest, lambda client: client.get("/x", {"a": "b c"}), pieces
    )
    assert (answer.status_code, answer.headers["x-one"], answer.content) == (200, "1", REPLIES[rest])
    assert sent == b"GET /x?a=b+c HTTP/1.1\r\nhost: process\r\nconnection: close\r\n\r\n"


def test_a_body_is_sent_with_its_length(bench: Bench) -> None:
    answer, sent = ask_server(
        bench, b"HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nno", lambda client: client.post("/x", {"one": [1]})
    )
    assert (answer.is_error, answer.is_server_error, answer.text) == (True, True, "no")
    assert sent.endswith(b"content-length: 11\r\ncontent-type: application/json\r\n\r\n" + b'{"one":[1]}')
    with pytest.raises(LocalHttpError, match="503 no"):
        answer.raise_for_status()


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (b"", "no answer"),
        (b"nonsense\r\n\r\n", "HttpParser"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nno", "cut off"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\n[1,\r\n", "cut off"),
    ],
)
def test_invalid_answers(bench: Bench, reply: bytes, expected: str) -> None:
    with pytest.raises(LocalHttpError, match=expected):
        ask_server(bench, reply, lambda client: client.get("/x"))


def test_no_answer_in_time_and_no_listener(bench: Bench) -> None:
    async def live() -> None:
        path = bench.folder / "s"

        async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await reader.read()  # until the client has gone

        async with bench.serving(path, silent):
            with pytest.raises(LocalHttpError, match="TimeoutError"):
                await LocalClient(path, "http://process", 0.05).get("/")
        with pytest.raises(LocalHttpError, match=r"ConnectionRefused|FileNotFound"):
            await LocalClient(path, "http://process", 1.0).get("/")

    bench.run(live())


def test_a_supervisor_holds_no_general_client_and_no_builder() -> None:
    """Each took more memory than all else in it, or an eighth of its start."""
    program = (
        "import sys, gatewright_cli.run.startup, gatewright_cli.node.specs.bootstrap as b; assert b.find().is_file()\n"
        "names = 'httpx rich jsonschema_rs gatewright_builder.build uvicorn starlette prometheus_client'.split()\n"
        "print(*sorted(sys.modules.keys() & names))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
