from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from gatewright_builder.events import Download, Event
from gatewright_builder.fetching.download import MAX_REDIRECTS, download
from gatewright_builder.fetching.retry import PermanentError, TransientError

if TYPE_CHECKING:
    from conftest import Server


@pytest.fixture
def server(servers: Callable[[], Server]) -> Server:
    return servers()


def fetch(url: str, events: list[Event] | None = None, limit: int = 1 << 20, **headers: str) -> bytes:
    file = io.BytesIO(b"")
    download(
        url,
        file,
        "it",
        (events if events is not None else []).append,
        headers=headers,
        limit=limit,
        pauses=(0.0, 0.0, 0.0),
    )
    return file.getvalue()


def test_progress_is_reported_while_a_file_is_fetched(server: Server) -> None:
    content, events = bytes(600_000), list[Event]()
    server.answer("/a", content)
    assert fetch(f"{server.url}/a", events) == content
    assert events[-1] == Download("it", len(content), len(content), done=True)
    assert all(isinstance(event, Download) and not event.done for event in events[:-1])
    assert len(events) > 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again_and_nothing_of_its_answers_stays(server: Server, status: int) -> None:
    server.answer("/a", (status, {}, b"busy, busy"), (200, {}, b"it"))
    assert fetch(f"{server.url}/a") == b"it"
    assert len(server.asked) == 2


def test_a_server_that_stays_busy_is_a_transient_error(server: Server) -> None:
    server.answer("/a", (503, {}, b""))
    with pytest.raises(TransientError, match="HTTP 503"):
        fetch(f"{server.url}/a")
    assert len(server.asked) == 4


def test_a_server_that_refuses_is_asked_once(server: Server) -> None:
    with pytest.raises(PermanentError, match="HTTP 404") as caught:
        fetch(f"{server.url}/a")
    assert (caught.value.status, len(server.asked)) == (404, 1)


def test_no_more_than_the_limit_is_written(server: Server) -> None:
    server.answer("/a", bytes(2_000))
    with pytest.raises(PermanentError, match="more than 1,000 bytes"):
        fetch(f"{server.url}/a", limit=1_000)
    assert fetch(f"{server.url}/a", limit=2_000) == bytes(2_000)


def test_a_redirect_to_another_server_goes_without_credentials(server: Server, servers: Callable[[], Server]) -> None:
    other = servers()
    other.answer("/b", b"it")
    server.answer("/a", (302, {"Location": f"{other.url.replace('127.0.0.1', 'localhost')}/b"}, b""))
    assert fetch(f"{server.url}/a", Authorization="Bearer x") == b"it"
    assert server.asked == [("/a", "Bearer x")]
    assert other.asked == [("/b", "")]


def test_redirects_end(server: Server) -> None:
    server.answer("/a", (302, {"Location": "/a"}, b""))
    with pytest.raises(PermanentError, match=f"more than {MAX_REDIRECTS} redirects"):
        fetch(f"{server.url}/a")


@pytest.mark.parametrize("url", ["ftp://host/a", "http://[/a"])
def test_no_such_address_is_a_permanent_error(url: str) -> None:
    with pytest.raises((PermanentError, TransientError)):
        fetch(url)
