"""Arguments for a policy's functions without a gateway: contexts and bodies in chunks. Part of `gatewright.testing`."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, overload

from gatewright import action
from gatewright.path_params import encode_path_params
from gatewright.peer import Peer, encode_peer
from gatewright.policy import (
    HeaderValue,
    PolicyMetadata,
    RequestContext,
    RequestStreamContext,
    ResponseContext,
    ResponseStreamContext,
    Trailers,
)
from gatewright.request_view import spell_path

HeaderLines = Mapping[str, HeaderValue] | Iterable[tuple[str | bytes, str | bytes]]
"""Headers as a mapping, or as (name, value) pairs."""


def request(
    method: str = "GET",
    path: str = "/",
    *,
    query: str = "",
    headers: HeaderLines = (),
    body: bytes | None = None,
    metadata: Mapping[str, Any] | None = None,
    prepared: Any = None,
    shared: Any = None,
    scheme: str = "http",
    authority: str = "localhost",
    client_address: str = "127.0.0.1:40000",
    peer: Peer | None = None,
    upstream: str | None = None,
    request_id: str = "test-request",
    operation: str = "",
    policy: PolicyMetadata | None = None,
    timeout: float = 1.0,
    traceparent: str = "",
    path_params: Mapping[str, str] | None = None,
    has_body: bool | None = None,
    api_context: str = "/",
    upstream_path: str | None = None,
    strict_paths: bool = True,
) -> RequestContext:
    """The context of an on_request.

    By default it is a GET of `/` on `http://localhost` from 127.0.0.1:40000 without headers and body, with the request
    id `test-request` and the metadata {}, from a client without a certificate. `operation` defaults to the method and
    the path, `policy` to test:v0.0.0.
    `headers` are a mapping or (name, value) pairs; names are lower-cased. `timeout` is in seconds from now.
    `traceparent` is that of the execution's span, by default the execution is not traced; the client's is a header.
    `path` is as a client writes it: `ctx.raw_path` returns it so, `ctx.path` normalized.
    `path_params` are by name and not encoded. `has_body` is by default whether there is a `body`.
    `api_context` is what `path` begins with. `upstream_path` is by default None, as if nothing went upstream.
    `strict_paths` is the API's `strictPaths`.
    """
    fields: Any = SimpleNamespace(  # as `RequestFields` names them
        request_id=_raw(request_id),
        method=_raw(method),
        path=_raw(spell_path(path, operation or f"{method} {path}", strict=strict_paths)),
        raw_path=_raw(path),
        context_size=len(_raw(api_context.rstrip("/"))),
        query=_raw(query),
        scheme=_raw(scheme),
        authority=_raw(authority),
        client_address=_raw(client_address),
        operation=_raw(operation or f"{method} {path}"),
        request_headers=header_blob(headers),
        metadata=json.dumps(dict(metadata or {})).encode(),
        peer=encode_peer(peer),
        upstream=_raw(upstream or ""),
        upstream_path=_raw(upstream_path or ""),
        traceparent=_raw(traceparent),
        path_params=encode_path_params(path_params or {}),
        has_body=bool(body) if has_body is None else has_body,
    )
    policy = policy or PolicyMetadata("test", "v0.0.0")
    return RequestContext(fields, body, policy, prepared, time.monotonic() + timeout, shared)


def response(
    status_code: int = 200,
    *,
    headers: HeaderLines = (),
    body: bytes | None = None,
    request: RequestContext | None = None,
) -> ResponseContext:
    """The context of an on_response: by default 200 without headers and body, for a plain GET.

    Metadata, `prepared`, `shared`, policy and timeout are those of `request`.

    In a gateway `request.body` is there only if the definition says `requestBodyInResponse: true`, so give the request
    a body only then.
    """
    fields: Any = SimpleNamespace(status=status_code, response_headers=header_blob(headers))
    return ResponseContext(fields, body, request or _plain_request())


# ------------------------------------------------------------------ streams


class Stream(AsyncIterator[bytes]):
    """The chunks of a body, to be iterated once. The message's `trailers` come when the chunks have ended.

    RuntimeError as in a gateway: if two tasks ask for a chunk at once, and if the chunks are iterated a second time.
    """

    def __init__(self, chunks: Iterable[bytes], trailers: bytes | None) -> None:
        self.trailers = Trailers()
        self._chunks = iter(chunks)
        self._blob = trailers
        self._ended = self._is_asked = False

    def __aiter__(self) -> Stream:
        if self._ended:
            raise RuntimeError(action.ITERATED_AGAIN)
        return self

    async def __anext__(self) -> bytes:
        if self._is_asked:
            raise RuntimeError(action.ASKED_TWICE)
        self._is_asked = True
        try:
            await asyncio.sleep(0)  # as if the chunk had to come first
        finally:
            self._is_asked = False
        for chunk in self._chunks:
            if chunk:
                return chunk
        self._ended = True
        self.end()
        raise StopAsyncIteration

    def end(self) -> Trailers:
        """Ends the body, whether it was read or not. Returns the trailers that the receiver gets: none if none came."""
        self.trailers.arrived(self._blob)
        return Trailers(b"") if self._blob is None else self.trailers


def stream(
    body: bytes | str | Iterable[bytes | str] = b"",
    *,
    sizes: int | Sequence[int] = (),
    seed: int | None = None,
    trailers: HeaderLines | None = None,
) -> Stream:
    """A body in chunks, for on_request_stream and on_response_stream.

    `body` is a whole body, which is cut, or a list of chunks. `sizes` are the sizes of the chunks in bytes: one for
    all, or a list that is repeated. `seed` cuts at random, the same way for the same number. With neither, the body is
    one chunk. Since a policy must not depend on where the chunks are cut, let hypothesis choose:
    `sizes=st.lists(st.integers(1, 20), min_size=1)`.
    """
    if not isinstance(body, bytes | str):
        if sizes or seed is not None:
            raise TypeError("expected a whole body beside `sizes` or `seed`, got chunks; join them")
        chunks: Iterable[bytes] = map(_raw, body)
    elif seed is not None:
        chosen = random.Random(seed)  # noqa: S311 - no secret
        chunks = _cut(_raw(body), (chosen.randint(1, 20) for _ in itertools.count()))
    else:
        chunks = _cut(_raw(body), _sizes(sizes) if sizes else itertools.repeat(len(body) * 4 + 1))
    return Stream(chunks, None if trailers is None else header_blob(trailers))


def _sizes(sizes: int | Sequence[int]) -> Iterator[int]:
    cycle = [sizes] if isinstance(sizes, int) else list(sizes)
    if min(cycle) < 1:
        raise ValueError(f"expected sizes of a byte or more, got {min(cycle)}")
    return itertools.cycle(cycle)


def _cut(body: bytes, sizes: Iterator[int]) -> Iterator[bytes]:
    at = 0
    while at < len(body):
        until = at + next(sizes)
        yield body[at:until]
        at = until


@overload
def streaming(ctx: RequestContext, chunks: Stream) -> RequestStreamContext: ...
@overload
def streaming(ctx: ResponseContext, chunks: Stream) -> ResponseStreamContext: ...
def streaming(ctx: RequestContext | ResponseContext, chunks: Stream) -> RequestStreamContext | ResponseStreamContext:
    """The context of an on_request_stream or on_response_stream: a context of `request` or `response`, without its
    body, with the trailers of `chunks`.
    """
    if isinstance(ctx, ResponseContext):
        return ResponseStreamContext(ctx._fields, ctx.request, chunks.trailers)
    return RequestStreamContext(ctx._fields, ctx.policy, ctx.prepared, ctx._deadline, chunks.trailers, ctx.shared)


def header_blob(headers: HeaderLines) -> bytes:
    """Headers in the form that `gatewright.policy.Headers` parses."""
    lines = headers.items() if isinstance(headers, Mapping) else headers
    return b"".join(
        _raw(name).lower() + b"\0" + _raw(item) + b"\0"
        for name, value in lines
        for item in ([value] if isinstance(value, str | bytes) else value)
    )


def _raw(value: str | bytes) -> bytes:
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value


_plain_request = request
