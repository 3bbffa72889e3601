"""The servers of a document: where an API's requests go, and which context it has.

The first server becomes the upstream. Its path is the context too, so that clients only change the host.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from gatewright_controller.resource.upstream import UrlError, parse_url
from gatewright_documents.mistake import listed, shown
from gatewright_documents.values import JsonValue, KeyPath

from gatewright_cli.openapi.source import Source

VARIABLE = re.compile(r"\{([^{}]*)\}")
MOST_NAMED = 10


@dataclass(frozen=True)
class Place:
    """url: the upstream's; "" if unknown. context: the path that clients know. comments: on the choice of both."""

    url: str
    context: str
    comments: tuple[str, ...] = ()


def place_of(source: Source, upstream: str | None) -> Place:
    """The upstream and the context by the document's servers.

    upstream: a URL that replaces the first server's scheme, host and port; if it has a path, the server's path too.
    """
    servers = source.value.get("servers")
    if servers is not None and not isinstance(servers, list):
        source.wrong(("servers",), "a list of servers", shown(servers), "fix it")
        servers = []
    first = _url(source, ("servers", 0)) if servers else "/"
    if first is None:
        return Place("", "/")
    others = [url for index in range(1, len(servers or [])) if (url := _url(source, ("servers", index)))]
    if others:
        source.note(("servers",), f"the first of {len(others) + 1} servers, {first}, is the upstream")
    comments = [f"Other servers of the document: {_some(others)}"] if others else []
    path = _path(first)
    if upstream is not None:
        if path is None:
            why = f"{first!r} is neither a URL with a scheme nor a path that begins with '/'"
            source.note(("servers", 0, "url"), f"ignored: {why}")
        comments.insert(0, f"In the document: {first}") if servers else None
        whole = upstream if _names_a_path(upstream) else upstream + (path or "")
        return Place(whole, path or "/", tuple(comments))
    _check(source, first, others)
    return Place(first, path or "/", tuple(comments))


def own_servers(source: Source, path: KeyPath, url: str) -> str:
    """The first server of a path or an operation itself, if it differs from `url`; else ""."""
    servers = source.at((*path, "servers"))
    if not isinstance(servers, list) or not servers:
        return ""
    own = _url(source, (*path, "servers", 0)) or ""
    return own if own.rstrip("/") != url.rstrip("/") else ""


def _some(urls: list[str]) -> str:
    more = len(urls) - MOST_NAMED
    return ", ".join(urls[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _path(url: str) -> str | None:
    """The URL's path without the slash at its end; None if the URL has neither a scheme nor a path from "/" on."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return parts.path.rstrip("/") if parts.scheme or url.startswith("/") else None


def _names_a_path(url: str) -> bool:
    try:
        return urlsplit(url).path != ""
    except ValueError:
        return True


def _url(source: Source, path: KeyPath) -> str | None:
    """The server's URL with its variables' defaults; None if it is unusable, which is a mistake."""
    server = source.object_at(*path)
    url = server.get("url")
    if not isinstance(url, str):
        if not source.mistakes:
            source.wrong((*path, "url"), "a URL", "nothing" if url is None else shown(url), "write it")
        return None
    variables = server.get("variables")
    known = variables if isinstance(variables, dict) else {}
    for name in dict.fromkeys(VARIABLE.findall(url)):
        default = _default(known.get(name))
        if default is None:
            cure = f"add variables.{name}.default to it, or use --upstream"
            source.wrong((*path, "url"), f"a default for each variable, got none for {{{name}}} in {url!r}", cure=cure)
            return None
        url = url.replace(f"{{{name}}}", default)
        source.note((*path, "url"), f"the server's variable {name} is {default!r}, its default")
    return url


def _default(variable: JsonValue) -> str | None:
    default = variable.get("default") if isinstance(variable, dict) else None
    return None if default is None or isinstance(default, dict | list) else str(default)


def _check(source: Source, url: str, others: list[str]) -> None:
    try:
        parse_url(url)
    except UrlError as error:
        usable = [other for other in others if _is_usable(other)]
        instead = listed(usable[:MOST_NAMED]) if usable else "https://orders.internal"
        cure = f"name the upstream with --upstream {instead}"
        if url.startswith("/"):
            source.wrong(("servers",), "a server with scheme and host", f"{url!r}, which is relative", cure)
        else:
            source.wrong(("servers", 0, "url"), str(error).removeprefix("expected "), cure=cure)


def _is_usable(url: str) -> bool:
    try:
        parse_url(url)
    except UrlError:
        return False
    return True


def with_path(url: str, more: str) -> str:
    """The URL with `more` appended to its path: `http://a/b` and `/c` are `http://a/b/c`."""
    if not more:
        return url
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + more))
