"""Against a server of the test, for answers that a controller seldom gives."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from gatewright_cli.clients.controller_refusals import DeployError, NoAnswerError, RefusedError
from gatewright_cli.clients.resources import Resources
from gatewright_cli.mistakes import ExitStatus

if TYPE_CHECKING:
    from cli.tests.conftest import Bench


class Pages:
    """Answers each path with its content; `asked` has the paths, in order."""

    def __init__(self, contents: dict[str, tuple[int, bytes]]) -> None:
        self._contents = contents
        self.asked: list[str] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
        self.asked.append(path)
        status, content = self._contents[path]
        writer.write(b"HTTP/1.1 %d x\r\ncontent-length: %d\r\n\r\n%s" % (status, len(content), content))
        await writer.drain()
        writer.close()


def fetch_all(bench: Bench, pages: Pages) -> list[str]:
    names: list[str] = []

    async def ask() -> None:
        server = await asyncio.start_server(pages, "127.0.0.1", 0)
        async with server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            names.extend(item["name"] for item in await Resources(url, "").fetch_all("/v1/apis", "apis"))

    bench.run(ask())
    return names


def page(*names: str, following: str = "") -> tuple[int, bytes]:
    content: dict[str, object] = {"apis": [{"name": name} for name in names]}
    return 200, json.dumps(content | ({"next": following} if following else {})).encode()


def test_all_pages_of_a_list_are_fetched(bench: Bench) -> None:
    pages = Pages({
        "/v1/apis": page("a", "b", following="/v1/apis?limit=2&after=b"),
        "/v1/apis?limit=2&after=b": page("c", following="/v1/apis?limit=2&after=c"),
        "/v1/apis?limit=2&after=c": page(following="/v1/apis?limit=2&after=c"),
    })  # fmt: skip
    assert fetch_all(bench, pages) == ["a", "b", "c"]
    assert len(pages.asked) == 3, "expected an end at a page without resources"


def test_a_page_is_used_before_the_next_is_asked_for(bench: Bench) -> None:
    """An export that fails has printed what came before."""
    pages = Pages({
        "/v1/apis": page("a", "b", following="/v1/apis?after=b"),
        "/v1/apis?after=b": (429, b'{"detail": "too many"}'),
    })  # fmt: skip
    events: list[object] = []

    async def ask() -> None:
        async with await asyncio.start_server(pages, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async for item in Resources(url, "").stream_all("/v1/apis", "apis"):
                events.append((item["name"], len(pages.asked)))  # noqa: PERF401 - what came before the failure

    with pytest.raises(RefusedError, match="429 too many") as refused:
        bench.run(ask())
    assert refused.value.status is ExitStatus.UNREACHABLE
    assert events == [("a", 1), ("b", 1)]


@pytest.mark.parametrize(("answer", "expected", "kind", "status"), [
    ((200, b"<html>"), "expected a JSON object from http", RefusedError, ExitStatus.FAILED),
    ((200, b"[]"), "expected a JSON object from http", RefusedError, ExitStatus.FAILED),
    ((200, b"{}"), "expected 'apis' in the answer of http", RefusedError, ExitStatus.FAILED),
    ((403, b'{"detail": "not yours"}'), "403 not yours", RefusedError, ExitStatus.NOT_ALLOWED),
    ((409, b'{"detail": "taken"}'), "409 taken", RefusedError, ExitStatus.CONFLICT),
    ((502, b"bad gateway"), "502 bad gateway", RefusedError, ExitStatus.FAILED),
    ((503, b'{"detail": "later"}'), "503 later", RefusedError, ExitStatus.UNREACHABLE),
    (
        (503, b'{"type": "urn:gatewright:problem:no-database", "detail": "no disk"}'),
        "no disk", NoAnswerError, ExitStatus.UNREACHABLE,
    ),
])  # fmt: skip
def test_other_answers_are_refusals_with_an_exit_status(
    bench: Bench, answer: tuple[int, bytes], expected: str, kind: type[DeployError], status: ExitStatus
) -> None:
    with pytest.raises(kind) as refused:
        fetch_all(bench, Pages({"/v1/apis": answer}))
    assert str(refused.value).startswith(expected)
    assert refused.value.status is status
