"""Where a state is written: a file, which is replaced as a whole, or a URL that takes a PUT, such as a bucket's."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

from gatewright_documents.os_errors import os_reason

from gatewright_controller.local.acme_folder import write_private

SECONDS = 120.0
SCHEMES = ("http", "https")


class NotWrittenError(Exception):
    """A place did not take the state; the message says why, without what a URL keeps secret."""


def place_mistake(place: str) -> str:
    """What is wrong with a place; "": nothing. A place with :// in it is a URL, any other a file."""
    if "://" not in place:
        return "" if place else "expected a file or an http(s) URL, got none"
    try:
        url = urlsplit(place)
        is_right = url.scheme in SCHEMES and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        is_right = False
    return "" if is_right else f"expected a file or an http(s) URL, got {shown(place)}"


def shown(place: str) -> str:
    """The place for people: of a URL neither user and password nor the query, which signs a request to a bucket."""
    if "://" not in place:
        return place
    head = place.split("?")[0].split("#")[0]
    scheme, _, rest = head.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


async def write(place: str, document: bytes) -> None:
    """Raises `NotWrittenError`."""
    if "://" in place:
        await _put(place, document)
        return
    try:
        await asyncio.to_thread(write_private, Path(place).absolute(), document)
    except OSError as error:
        raise NotWrittenError(f"{place} could not be written ({os_reason(error)})") from None


async def _put(url: str, document: bytes) -> None:
    try:
        import httpx
    except ImportError as error:
        raise NotWrittenError(f"expected httpx, got none ({error}): pip install 'gatewright[state]'") from None
    headers = {"content-type": "application/octet-stream"}
    try:
        async with httpx.AsyncClient(timeout=SECONDS, follow_redirects=False) as client:
            answer = await client.put(url, content=document, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError) as error:
        reason = type(error).__name__
        raise NotWrittenError(f"{shown(url)} gave no answer to a PUT ({reason})") from None
    if not answer.is_success:
        raise NotWrittenError(f"{shown(url)} answered {answer.status_code} to a PUT: expected 200, 201 or 204")
