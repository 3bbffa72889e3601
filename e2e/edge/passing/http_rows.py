"""Rows of HTTP: each is run from HTTP/1.1 and HTTP/2 clients to HTTP/1.1 and HTTP/2 upstreams."""

from __future__ import annotations

import asyncio

from e2e.edge.passing.columns import BUFFERING as BUFFERS
from e2e.edge.passing.rows import HELD, HTTP1, HTTP2, PASSES, WHOLE, Row, row
from e2e.edge.passing.stage import IDLE_SECONDS, REQUEST_SECONDS, Way
from e2e.kit.conversation import Exchange, arrives

BODY = bytes(range(256)) * 800
STREAMS = "python-streams"
ALL = "200, the whole"


@row("A body each way, 200 KB, with its length", {STREAMS: "without its length"})
async def bodies(way: Way) -> str:
    async with way.connect() as connection:
        sent, coming = await way.ask(connection, "POST", [("content-length", str(len(BODY)))])
        async with asyncio.TaskGroup() as both:
            both.create_task(whole(sent, BODY))
            received, head = await coming.arrived()
            assert (await received.rest())[0] == BODY
        lengths = [head.value("content-length")]
        await received.answer(200, [("content-length", str(len(BODY))), ("x-answered", "yes")])
        async with asyncio.TaskGroup() as both:
            both.create_task(whole(received, BODY))
            answer = await sent.expect("response")
            assert (answer.status, answer.value("x-answered"), (await sent.rest())[0]) == (200, "yes", BODY)
    lengths.append(answer.value("content-length"))
    return PASSES if lengths == [str(len(BODY))] * 2 else "without its length"


async def whole(exchange: Exchange, body: bytes) -> None:
    await exchange.send(body)
    await exchange.end()


@row("An upload without a length, piece by piece", {BUFFERS: WHOLE})
async def upload(way: Way) -> str:
    async with way.connect() as connection:
        sent, coming = await way.ask(connection, "POST", chunked(way.downstream))
        await sent.send(b"one")
        arrived = asyncio.ensure_future(coming.arrived())
        at_once = await arrives(asyncio.shield(arrived), way.patience)
        if at_once:
            assert await (await arrived)[0].read(3) == b"one"
        await sent.send(b"two")
        await sent.end()
        received, _ = await arrived
        assert (await received.rest())[0] == (b"two" if at_once else b"onetwo")
        await received.answer(204, last=True)
        assert (await sent.expect("response")).status == 204
    return PASSES if at_once else WHOLE


def chunked(version: str) -> list[tuple[str, str]]:
    return [("transfer-encoding", "chunked")] if version == HTTP1 else []


@row("Events: an answer without a length, piece by piece", {BUFFERS: WHOLE})
async def events(way: Way) -> str:
    async with way.connect() as connection:
        sent, coming = await way.ask(connection, "GET", last=True)
        received, _ = await coming.arrived()
        await received.answer(200, [("content-type", "text/event-stream"), *chunked(way.upstream)])
        await received.send(b"data: 0\n\n")
        first = asyncio.ensure_future(sent.next())
        if not await arrives(asyncio.shield(first), way.patience):
            await received.send(b"data: 1\n\n")
            await received.end()
            assert (await first).status == 200
            assert (await sent.rest())[0] == b"data: 0\n\ndata: 1\n\n"
            return WHOLE
        assert ((await first).status, await sent.read(9)) == (200, b"data: 0\n\n")
        await received.send(b"data: 1\n\n")
        assert await sent.read(9) == b"data: 1\n\n"
        await received.end()
        assert await sent.rest() == (b"", [])
    return PASSES


@row("`Expect: 100-continue`", versions=[(HTTP1, HTTP1), (HTTP1, HTTP2)])
async def expect_continue(way: Way) -> str:
    """The gateway says it by itself, before policies decide."""
    async with way.connect() as connection:
        sent, coming = await way.ask(connection, "POST", [("content-length", "3"), ("expect", "100-continue")])
        assert (await sent.expect("informational")).status == 100
        await sent.send(b"abc")
        await sent.end()
        received, head = await coming.arrived()
        assert (await received.rest())[0] == b"abc"
        await received.answer(200, [("content-length", "0")], last=True)
        assert (await sent.expect("response")).status == 200
    return PASSES if head.value("expect") is None else "passes to the upstream"


@row("HEAD: the length of what GET would bring")
async def head_request(way: Way) -> str:
    async with way.connect() as connection:
        sent, coming = await way.ask(connection, "HEAD", last=True)
        received, head = await coming.arrived()
        assert head.method == "HEAD"
        await received.answer(200, [("content-length", "1234"), ("etag", '"a"')], last=True)
        answer = await sent.expect("response")
        assert (answer.status, answer.value("content-length"), answer.value("etag")) == (200, "1234", '"a"')
        assert await sent.rest() == (b"", [])
    return PASSES


@row("204 and 304")
async def empty_answers(way: Way) -> str:
    async with way.connect() as connection:
        for status, asks in ((204, []), (304, [("if-none-match", '"a"')])):
            sent, coming = await way.ask(connection, "GET", asks, last=True)
            received, head = await coming.arrived()
            assert head.value("if-none-match") == ('"a"' if asks else None)
            await received.answer(status, [("etag", '"a"')], last=True)
            answer = await sent.expect("response")
            assert (answer.status, answer.value("etag"), await sent.rest()) == (status, '"a"', (b"", []))
    return PASSES


@row("Ranges: `Range`, `If-Range`, 206", {BUFFERS: ALL, STREAMS: ALL})
async def ranges(way: Way) -> str:
    async with way.connect() as connection:
        asks = [("range", "bytes=2-4"), ("if-range", '"a"')]
        sent, coming = await way.ask(connection, "GET", asks, last=True)
        received, head = await coming.arrived()
        if (head.value("range"), head.value("if-range")) == (None, None):
            await received.answer(200, [("content-length", "10"), ("accept-ranges", "bytes")])
            await whole(received, b"abcdefghij")
            answer = await sent.expect("response")
            assert (answer.status, answer.value("accept-ranges")) == (200, None)
            assert (await sent.rest())[0] == b"abcdefghij"
            return ALL
        assert (head.value("range"), head.value("if-range")) == ("bytes=2-4", '"a"')
        part = [("content-range", "bytes 2-4/10"), ("content-length", "3"), ("etag", '"a"')]
        await received.answer(206, part)
        await whole(received, b"cde")
        answer = await sent.expect("response")
        assert (answer.status, answer.value("content-range"), answer.value("etag")) == (206, "bytes 2-4/10", '"a"')
        assert (await sent.rest())[0] == b"cde"
    return PASSES


@row("Trailers of a request", versions=[(HTTP1, HTTP1), (HTTP2, HTTP1), (HTTP1, HTTP2), (HTTP2, HTTP2)])
async def request_trailers(way: Way) -> str:
    async with way.connect() as connection:
        sent, coming = await way.ask(connection, "POST", [*chunked(way.downstream), ("trailer", "x-sum")])
        await sent.send(b"abc")
        await sent.end([("x-sum", "6")])
        received, _ = await coming.arrived()
        body, trailers = await received.rest()
        assert body == b"abc"
        await received.answer(204, last=True)
        assert (await sent.expect("response")).status == 204
    return PASSES if list(trailers) == [("x-sum", "6")] else "dropped"


@row("Trailers of an answer")
async def response_trailers(way: Way) -> str:
    async with way.connect() as connection:
        sent, coming = await way.ask(connection, "GET", [("te", "trailers")], last=True)
        received, _ = await coming.arrived()
        await received.answer(200, [*chunked(way.upstream), ("trailer", "x-sum")])
        await received.send(b"abc")
        await received.end([("x-sum", "6")])
        assert (await sent.expect("response")).status == 200
        body, trailers = await sent.rest()
        assert body == b"abc"
    return PASSES if list(trailers) == [("x-sum", "6")] else "dropped"


@row("103 Early Hints", dict.fromkeys(("none", "go-headers", "python-headers", BUFFERS, STREAMS), "dropped"))
async def early_hints(way: Way) -> str:
    async with way.connect() as connection:
        sent, coming = await way.ask(connection, "GET", last=True)
        received, _ = await coming.arrived()
        await received.inform(103, [("link", "</a.css>; rel=preload")])
        await received.answer(200, [("content-length", "0")], last=True)
        event = await sent.next()
        if event.kind == "response":
            assert (event.status, await sent.rest()) == (200, (b"", []))
            return "dropped"
        assert (event.status, (await sent.expect("response")).status) == (103, 200)
    return PASSES


@row("An answer before the upload has ended", {BUFFERS: "the upload first"})
async def early_answer(way: Way) -> str:
    async with way.connect() as connection:
        sent, coming = await way.ask(connection, "POST", chunked(way.downstream))
        await sent.send(b"part")
        arrived = asyncio.ensure_future(coming.arrived())
        if not await arrives(asyncio.shield(arrived), way.patience):
            await sent.end()
            received, _ = await arrived
            assert (await received.rest())[0] == b"part"
            await received.answer(413, [("content-length", "0")], last=True)
            assert (await sent.expect("response")).status == 413
            return "the upload first"
        received, _ = await arrived
        await received.answer(413, [("content-length", "2")])
        await whole(received, b"no")
        assert (await sent.expect("response")).status == 413
        assert (await sent.rest())[0] == b"no"
    return PASSES


@row("An answer that goes on while the upload does", {BUFFERS: HELD}, times_out=True)
async def both_at_once(way: Way) -> str:
    async with way.connect() as connection:
        sent, coming = await way.ask(connection, "POST", chunked(way.downstream))
        arrived = asyncio.ensure_future(coming.arrived())
        for number in range(3):
            await sent.send(b"%d" % number)
            if not await arrives(asyncio.shield(arrived), way.patience):
                arrived.cancel()
                return f"{HELD}" if (await sent.expect("response")).status == 408 else "other"
            received, _ = await arrived
            assert await received.read(1) == b"%d" % number
            if number == 0:
                await received.answer(200, chunked(way.upstream))
            await received.send(b"%d" % number)
            if number == 0:
                assert (await sent.expect("response")).status == 200
            assert await sent.read(1) == b"%d" % number
        await sent.end()
        assert await received.rest() == (b"", [])
        await received.end()
        assert await sent.rest() == (b"", [])
    return PASSES


PROXIES_SAY = {
    "forwarded": "for=9.9.9.9",
    "x-real-ip": "9.9.9.9",
    "x-forwarded-port": "1",
    "x-ssl-client-verify": "SUCCESS",
}


@row(
    "`Forwarded`, `X-Real-IP` and the other [headers of proxies](../how-to/gateway.md#headers-of-proxies), of a client "
    "that is no trusted proxy",
    dict.fromkeys(("none", "go-headers", "python-headers", BUFFERS, STREAMS), "dropped"),
)
async def headers_of_proxies(way: Way) -> str:
    async with way.connect() as connection:
        sent, coming = await way.ask(connection, "GET", [*PROXIES_SAY.items(), ("via", "1.1 client")], last=True)
        received, head = await coming.arrived()
        assert head.value("via") == "1.1 client"
        await received.answer(200, [("content-length", "0")], last=True)
        assert (await sent.expect("response")).status == 200
    passed = [name for name in PROXIES_SAY if head.value(name) is not None]
    return f"passes: {', '.join(passed)}" if passed else "dropped"


CLOSED = "the connection closes"


@row(
    "The next request after an answer that came early, HTTP/1.1",
    dict.fromkeys(("none", "go-headers", "python-headers", STREAMS), CLOSED),
    versions=[(HTTP1, HTTP1), (HTTP1, HTTP2)],
)
async def after_early_http1(way: Way) -> str:
    """The rest of the upload is not waited for."""
    return await after_an_early_answer(way)


@row("The next request after an answer that came early, HTTP/2", versions=[(HTTP2, HTTP1), (HTTP2, HTTP2)])
async def after_early_http2(way: Way) -> str:
    return await after_an_early_answer(way)


async def after_an_early_answer(way: Way) -> str:
    async with way.connect() as connection:
        sent, coming = await way.ask(connection, "POST", [("content-length", "6")])
        await sent.send(b"abc")
        arrived = asyncio.ensure_future(coming.arrived())
        early = await arrives(asyncio.shield(arrived), way.patience)
        if not early:
            await sent.send(b"def")
            await sent.end()
        received, _ = await arrived
        await received.answer(413, [("content-length", "0")], last=True)
        answer = await sent.expect("response")
        assert (answer.status, await sent.rest()) == (413, (b"", []))
        if answer.value("connection") == "close":
            return CLOSED
        sent, coming = await way.ask(connection, "GET", last=True)
        received, _ = await coming.arrived()
        await received.answer(200, [("content-length", "0")], last=True)
        assert (await sent.expect("response")).status == 200
    return PASSES


@row(
    "A silence between `requestTimeout` and `idleTimeout`, in an upload and in an answer",
    {BUFFERS: WHOLE},
    times_out=True,
)
async def silences(way: Way) -> str:
    assert REQUEST_SECONDS + 0.2 < IDLE_SECONDS
    async with way.connect() as connection:
        sent, coming = await way.ask(connection, "POST", chunked(way.downstream))
        await sent.send(b"one")
        arrived = asyncio.ensure_future(coming.arrived())
        at_once = await arrives(asyncio.shield(arrived), way.patience)
        await asyncio.sleep(REQUEST_SECONDS + 0.2)  # the silence
        await sent.send(b"two")
        await sent.end()
        received, _ = await arrived
        assert (await received.rest())[0] == b"onetwo"
        await received.answer(200, chunked(way.upstream))
        await received.send(b"one")
        await asyncio.sleep(REQUEST_SECONDS + 0.2)
        await received.send(b"two")
        await received.end()
        assert (await sent.expect("response")).status == 200
        assert (await sent.rest())[0] == b"onetwo"
    return PASSES if at_once else WHOLE


@row("When a client disconnects, the upstream's side ends too")
async def client_gone(way: Way) -> str:
    async with way.connect() as connection:
        sent, coming = await way.ask(connection, "GET", last=True)
        received, _ = await coming.arrived()
        await received.expect("end")
        await received.answer(200, chunked(way.upstream))
        await received.send(b"x")
        sent.reset()
        while (event := await received.next()).kind == "end":
            pass
        assert event.kind == "reset"
    return PASSES


@row("An upstream that breaks off in its answer: never a complete one", {BUFFERS: "502 or 503"})
async def broken_off(way: Way) -> str:
    async with way.connect() as connection:
        sent, coming = await way.ask(connection, "GET", last=True)
        received, _ = await coming.arrived()
        await received.answer(200, chunked(way.upstream))
        await received.send(b"half")
        answered = asyncio.ensure_future(sent.next())
        early = await arrives(asyncio.shield(answered), way.patience)
        received.reset()
        if not early:
            return "502 or 503" if (await answered).status in {502, 503} else f"{await answered}"
        assert ((await answered).status, await sent.read(4)) == (200, b"half")
        await sent.expect("reset")
    return PASSES


ROWS: list[Row] = [value for value in globals().values() if isinstance(value, Row)]
