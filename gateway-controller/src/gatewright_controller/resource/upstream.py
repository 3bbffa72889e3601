"""An upstream's URL, taken apart once: validation refuses what translation could not render."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

import msgspec

from gatewright_controller.model import UpstreamProtocol

HOST_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))*\.?")
NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
"""What a resolver may take for (a part of) an IPv4 address at the end of a host, in older spellings."""
BASE_PATH = re.compile(r"(/([A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})+)*")
PORTS = {"http": 80, "https": 443, "grpc": 80, "grpcs": 443}
SECURE = ("https", "grpcs")
GRPC = ("grpc", "grpcs")
EXPECTED = "expected an http:// or https:// URL (for gRPC: grpc:// or grpcs://)"
LONGEST = 2048
SOCKET = re.compile(r"unix:(?://)?(?P<path>(/[A-Za-z0-9_.-]+)+)")
LONGEST_SOCKET = 107
"""Bytes of a path in `sockaddr_un` (unix(7))."""
URLS_KEPT = 1000
"""Parsed once for the APIs that have them in common."""


class UpstreamUrl(msgspec.Struct, frozen=True):
    """`base` is what stands before the path at the upstream: "" or "/api", no slash at its end. `protocol` is what is
    spoken with it.
    """

    secure: bool
    host: str
    port: int
    base: str
    protocol: UpstreamProtocol = "http1"
    socket: str = ""
    """The path of a Unix socket; then there is neither host nor port."""

    @property
    def is_address(self) -> bool:
        """An IP address or a socket: nothing to look up, and no server name to send."""
        return bool(self.socket) or _address(self.host) is not None

    @property
    def authority(self) -> str:
        """What goes upstream as `:authority`: without a port that the scheme implies."""
        if self.socket:
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS["https" if self.secure else "http"] else f"{host}:{self.port}"


class UrlError(ValueError):
    """The message says what was expected and what came."""


@lru_cache(maxsize=URLS_KEPT)
def parse_url(url: str, protocol_setting: UpstreamProtocol | None = None) -> UpstreamUrl:
    """Of an upstream, and what its `protocol` says, if anything.

    Raises `UrlError` for all but http, https, grpc and grpcs URLs of a host, a port and a base path, and the paths of
    Unix sockets.
    """
    if url.startswith("unix:"):
        return UpstreamUrl(False, "", 0, "", protocol_setting or "http1", _socket(url))
    parts, port = _split(url)
    if parts.scheme in ("ws", "wss"):
        instead = "https" if parts.scheme == "wss" else "http"
        raise UrlError(f"{EXPECTED}, got {url!r}; a WebSocket begins as a GET: write {instead}://")
    if parts.scheme not in PORTS:
        raise UrlError(f"{EXPECTED}, got {url!r}")
    if parts.username is not None or parts.password is not None:
        raise UrlError("expected a URL without user and password; a policy can set the Authorization header")
    if parts.query or parts.fragment or "?" in url or "#" in url:
        raise UrlError(f"expected a URL without query and fragment, got {url!r}")
    protocol = protocol_setting or ("http2" if parts.scheme in GRPC else "http1")
    port = port or PORTS[parts.scheme]
    return UpstreamUrl(parts.scheme in SECURE, _host(parts, url), port, _base(parts, url), protocol)


def _socket(url: str) -> str:
    found = SOCKET.fullmatch(url)
    path = found["path"] if found else ""
    if not path or len(path) > LONGEST_SOCKET or any(part in (".", "..") for part in path.split("/")):
        expected = f"expected unix:/path/to/socket, of plain segments and at most {LONGEST_SOCKET} characters"
        raise UrlError(f"{expected}, got {url[:120]!r}")
    return path


def is_grpc(url: str) -> bool:
    """Whether the URL alone says that HTTP/2 is spoken."""
    return url.lower().startswith(tuple(f"{scheme}://" for scheme in GRPC))


def _split(url: str) -> tuple[SplitResult, int | None]:
    if len(url) > LONGEST or not url.isascii() or any(character <= " " or character == "\x7f" for character in url):
        raise UrlError(f"expected a URL of at most {LONGEST} printable ASCII characters, got {url[:60]!r}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UrlError(f"expected a URL such as http://orders.internal:8080/api, got {url!r}: {error}") from None
    if port == 0 or parts.netloc.endswith(":"):
        raise UrlError(f"expected a port from 1 to 65535, got {url!r}")
    return parts, port


def _host(parts: SplitResult, url: str) -> str:
    host = parts.hostname or ""
    if _address(host) is None and not HOST_NAME.fullmatch(host):
        raise UrlError(f"expected a host name or an IP address, got {host!r} in {url!r}")
    if _address(host) is None and NUMBER.fullmatch(host.rstrip(".").rsplit(".", 1)[-1]):
        raise UrlError(f"expected a host name or an IP address of four numbers from 0 to 255, got {host!r} in {url!r}")
    return host


def _base(parts: SplitResult, url: str) -> str:
    base = parts.path.rstrip("/")
    if not BASE_PATH.fullmatch(base) or any(text in (".", "..") for text in base.split("/")):
        raise UrlError(f"expected a base path of plain segments, got {parts.path!r} in {url!r}")
    return base


@lru_cache(maxsize=URLS_KEPT)
def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
