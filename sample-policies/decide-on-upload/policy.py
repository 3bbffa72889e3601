"""Lets an upload pass by its first bytes, or refuses it with a 415 before the upstream gets any of it.

The first bytes show the kind of a file, while a client may send any content-type. The policy decides as soon as they
are there, and the rest passes as it comes: an upload of any size needs no memory, and the client of a refused upload
gets the answer while it still sends.

Limits: only the beginning is checked, and a file may be of two kinds at once.
"""

from typing import Any

from sdk.policy import Chunks, ImmediateResponse, Reject, RequestStreamContext

MAGIC = {  # for each kind its beginnings: bytes by their position
    "gif": [{0: b"GIF87a"}, {0: b"GIF89a"}],
    "jpeg": [{0: b"\xff\xd8\xff"}],
    "pdf": [{0: b"%PDF-"}],
    "png": [{0: b"\x89PNG\r\n\x1a\n"}],
    "webp": [{0: b"RIFF", 8: b"WEBP"}],
    "zip": [{0: b"PK\x03\x04"}, {0: b"PK\x05\x06"}],
}
ENOUGH = 12
"""The number of bytes that shows every kind."""


async def on_request_stream(ctx: RequestStreamContext, chunks: Chunks, params: dict[str, Any]) -> Chunks:
    first = b""
    async for chunk in chunks:
        if len(first) < ENOUGH:
            first = chunk = first + chunk
            if len(first) < ENOUGH:
                continue
            decide(first, params["allow"])
        yield chunk
    if len(first) < ENOUGH:
        decide(first, params["allow"])
        yield first


def decide(first: bytes, allowed: list[str]) -> None:
    """Raises Reject unless the file is of an allowed kind."""
    if kind_of(first) not in allowed:
        expected = ", ".join(allowed)
        raise Reject(ImmediateResponse(415, {"content-type": "text/plain"}, f"expected a file of {expected}\n"))


def kind_of(first: bytes) -> str | None:
    kinds = (kind for kind, beginnings in MAGIC.items() if any(begins_with(first, parts) for parts in beginnings))
    return next(kinds, None)


def begins_with(first: bytes, parts: dict[int, bytes]) -> bool:
    return all(first.startswith(magic, at) for at, magic in parts.items())
