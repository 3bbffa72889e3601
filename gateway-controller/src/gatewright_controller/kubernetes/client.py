"""Speaks HTTP with the API server: objects, pages of lists, streams of watches."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

import httpx
import msgspec
from gatewright import __version__
from gatewright_documents.values import JsonObject

from gatewright_controller.kubernetes.api_access import ApiAccess

REQUEST_SECONDS = 5.0
"""For one request that is no watch and no list."""
LIST_SECONDS = 60.0
FIELD_MANAGER = "gatewright"
JSON, MERGE_PATCH, APPLY = "application/json", "application/merge-patch+json", "application/apply-patch+yaml"
GONE, CONFLICT, NOT_FOUND, UNAUTHORIZED, FORBIDDEN = 410, 409, 404, 401, 403
SILENT_SECONDS = 15
"""After which the kernel asks a silent server whether it is there; then three times as long at most."""
SOCKET_OPTIONS = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, SILENT_SECONDS),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]


class ApiError(Exception):
    """The API server has refused a request, or has not answered (status 0). retry_after: seconds that it asks for."""

    def __init__(self, status: int, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.status, self.retry_after = status, retry_after


class ApiClient:
    """One for each controller. Each request has the token as it is then."""

    def __init__(self, http: httpx.AsyncClient, access: ApiAccess) -> None:
        self._http, self._access = http, access

    async def get(self, path: str, **query: str | int) -> JsonObject:
        """Raises `ApiError`."""
        return await self._ask("GET", path, query, seconds=LIST_SECONDS if "limit" in query else REQUEST_SECONDS)

    async def create(self, path: str, body: JsonObject) -> JsonObject:
        """Raises `ApiError`."""
        return await self._ask("POST", path, {"fieldManager": FIELD_MANAGER}, body, JSON)

    async def replace(self, path: str, body: JsonObject) -> JsonObject:
        """Raises `ApiError`: `CONFLICT` where the body's resourceVersion is an older one."""
        return await self._ask("PUT", path, {"fieldManager": FIELD_MANAGER}, body, JSON)

    async def merge(self, path: str, patch: JsonObject) -> JsonObject:
        """A merge patch (RFC 7386). Raises `ApiError`, as `replace`."""
        return await self._ask("PATCH", path, {"fieldManager": FIELD_MANAGER}, patch, MERGE_PATCH)

    async def apply(self, path: str, body: JsonObject) -> JsonObject:
        """Server-side apply: the fields of the body are this manager's from then on. Raises `ApiError`."""
        query: dict[str, str | int] = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return await self._ask("PATCH", path, query, body, APPLY)

    async def delete(self, path: str, uid: str) -> None:
        """Deletes the object if it is still the one with this uid. Raises `ApiError`."""
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": uid}}
        await self._ask("DELETE", path, {"propagationPolicy": "Background"}, body, JSON)

    async def watch(self, path: str, seconds: int, **query: str | int) -> AsyncGenerator[JsonObject]:
        """Events, until the server ends the stream after so many seconds. Raises `ApiError`."""
        query |= {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": seconds}
        timeout = httpx.Timeout(REQUEST_SECONDS, read=seconds + LIST_SECONDS, pool=None)
        async with self._stream("GET", path, query, timeout=timeout) as answer:
            async for line in _lines(answer):
                yield msgspec.json.decode(line)

    async def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int],
        body: JsonObject | None = None,
        content_type: str = "",
        seconds: float = REQUEST_SECONDS,
    ) -> JsonObject:
        content = None if body is None else msgspec.json.encode(body)
        headers = {"content-type": content_type} if content_type else {}
        try:
            async with (
                asyncio.timeout(seconds),
                self._stream(method, path, query, content=content, headers=headers, timeout=seconds) as answer,
            ):
                decoded: JsonObject = msgspec.json.decode(await answer.aread())
                return decoded
        except TimeoutError:
            raise ApiError(0, f"{method} {path}: expected an answer within {seconds:g} s, got none") from None

    @contextlib.asynccontextmanager
    async def _stream(
        self, method: str, path: str, query: Mapping[str, str | int], **more: Any
    ) -> AsyncIterator[httpx.Response]:
        """A successful answer. Once more with a token that has been replaced. Raises `ApiError`."""
        headers = more.pop("headers", {})
        extensions = {"sni_hostname": self._access.tls_name} if self._access.tls_name else {}
        try:
            while True:
                token = self._access.token.current()
                authorized = {**headers, **({"authorization": f"Bearer {token}"} if token else {})}
                async with self._http.stream(
                    method, path, params=query, headers=authorized, extensions=extensions, **more
                ) as answer:
                    if answer.status_code == UNAUTHORIZED and self._access.token.read_again():
                        continue
                    if not answer.is_success:
                        raise _refusal(method, path, answer, await answer.aread())
                    yield answer
                    return
        except (httpx.HTTPError, httpx.InvalidURL, msgspec.DecodeError, OSError) as error:
            raise ApiError(0, f"{method} {path}: {str(error) or type(error).__name__}") from None


async def _lines(answer: httpx.Response) -> AsyncIterator[bytes]:
    """Those that end in LF alone: httpx's own end at all that Unicode calls the end of a line, too."""
    rest: list[bytes] = []
    async for piece in answer.aiter_bytes():
        first, *others = piece.split(b"\n")
        rest.append(first)
        for other in others:
            if line := b"".join(rest):
                yield line
            rest = [other]


def _refusal(method: str, path: str, answer: httpx.Response, body: bytes) -> ApiError:
    try:
        message = msgspec.json.decode(body).get("message", "")
    except (msgspec.DecodeError, AttributeError):
        message = body[:200].decode("utf-8", "replace")
    after = answer.headers.get("retry-after", "")
    return ApiError(
        answer.status_code,
        f"{method} {path}: {answer.status_code} {message}".rstrip(),
        float(after) if after.isdecimal() else 0.0,
    )


@contextlib.asynccontextmanager
async def open_client(access: ApiAccess) -> AsyncIterator[ApiClient]:
    """Connections are kept for the next requests; a server that is gone without a word is noticed within a minute."""
    headers = {"accept": "application/json", "user-agent": f"gatewright-controller/{__version__}"}
    transport = httpx.AsyncHTTPTransport(
        verify=access.tls if access.tls else False,
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=8),
        socket_options=SOCKET_OPTIONS,
    )
    async with httpx.AsyncClient(
        base_url=access.server, transport=transport, headers=headers, trust_env=False, follow_redirects=False
    ) as http:
        yield ApiClient(http, access)
