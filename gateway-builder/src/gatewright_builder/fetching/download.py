"""One file over HTTP: with a limit, retries and progress reports."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import BinaryIO

import httpx

from gatewright_builder.events import Download, Say
from gatewright_builder.fetching.retry import PAUSES, PermanentError, TransientError, retry

TIMEOUT = httpx.Timeout(30.0, connect=10.0)
MAX_REDIRECTS = 5
TELL_EVERY = 1 << 18


def download(
    url: str,
    file: BinaryIO,
    name: str,
    say: Say,
    *,
    headers: Mapping[str, str],
    limit: int,
    pauses: Sequence[float] = PAUSES,
) -> None:
    """Writes what url has, at most `limit` bytes, into an empty file. Raises PermanentError, or TransientError at last.

    Credentials in headers reach url's own server only: a redirect to another one goes without.
    """
    with httpx.Client(timeout=TIMEOUT, headers=headers, follow_redirects=True, max_redirects=MAX_REDIRECTS) as client:
        retry(lambda: _attempt(client, url, file, name, say, limit), pauses)


def _attempt(client: httpx.Client, url: str, file: BinaryIO, name: str, say: Say, limit: int) -> None:
    file.seek(0)
    file.truncate()
    try:
        with client.stream("GET", url) as answer:
            _check(answer)
            _copy(answer, file, name, say, limit)
    except httpx.TooManyRedirects as error:
        raise PermanentError(f"more than {MAX_REDIRECTS} redirects") from error
    except (httpx.TransportError, httpx.DecodingError) as error:
        raise TransientError(str(error) or type(error).__name__) from error
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise PermanentError(str(error)) from error


def _check(answer: httpx.Response) -> None:
    text = f"HTTP {answer.status_code} {answer.reason_phrase}".strip()
    if answer.status_code == 429 or answer.status_code >= 500:
        raise TransientError(text)
    if answer.status_code != 200:
        raise PermanentError(text, answer.status_code)


def _copy(answer: httpx.Response, file: BinaryIO, name: str, say: Say, limit: int) -> None:
    total, received, reported = None, 0, 0
    with contextlib.suppress(KeyError, ValueError):
        total = int(answer.headers["content-length"])
    for piece in answer.iter_raw():
        received += len(piece)
        if received > limit:
            raise PermanentError(f"more than {limit:,} bytes")
        file.write(piece)
        if received - reported >= TELL_EVERY:
            say(Download(name, received, total))
            reported = received
    say(Download(name, received, total, done=True))
