"""Lets an upload go on by its first bytes, or refuses it with a 415 before upstream hears of it.

What a file is, its first bytes say; a content-type says what a client likes. As soon as they are there it is decided,
and the rest passes as it comes: an upload of any size needs no memory, and a client whose upload is refused hears so
while it still sends.

Know its limits: it looks at no more than the beginning. A file may be two things at once.
"""

from typing import Any

from sdk.policy import Chunks, ImmediateResponse, Reject, RequestStreamContext

MAGIC = {  # each of a kind: what stands where
    "gif": [{0: b"GIF87a"}, {0: b"GIF89a"}],
    "jpeg": [{0: b"\xff\xd8\xff"}],
    "pdf": [{0: b"%PDF-"}],
    "png": [{0: b"\x89PNG\r\n\x1a\n"}],
    "webp": [{0: b"RIFF", 8: b"WEBP"}],
    "zip": [{0: b"PK\x03\x04"}, {0: b"PK\x05\x06"}],
}
ENOUGH = 12
"""Bytes after which every kind is known."""


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
    """Raises Reject where none of the kinds begins so."""
    if kind_of(first) not in allowed:
        expected = ", ".join(allowed)
        raise Reject(ImmediateResponse(415, {"content-type": "text/plain"}, f"expected a file of {expected}\n"))


def kind_of(first: bytes) -> str | None:
    kinds = (kind for kind, ways in MAGIC.items() if any(begins_so(first, way) for way in ways))
    return next(kinds, None)


def begins_so(first: bytes, way: dict[int, bytes]) -> bool:
    return all(first.startswith(magic, at) for at, magic in way.items())
