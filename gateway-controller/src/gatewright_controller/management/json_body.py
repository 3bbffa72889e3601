"""A request's body, within a bound; and one that is JSON and said to be, which no web page may send to another origin
without asking (https://fetch.spec.whatwg.org/#cors-safelisted-method).
"""

from __future__ import annotations

from starlette.requests import Request

from gatewright_controller.management.problems import Problem

JSON = "application/json"


async def json_body(request: Request, most: int) -> bytes:
    """At most so many bytes. Raises `Problem`."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != JSON:
        raise Problem(415, f"expected a Content-Type of {JSON}, got {media_type or 'none'}")
    return await bounded_body(request, most)


async def bounded_body(request: Request, most: int) -> bytes:
    """The body, whatever its content type. Raises `Problem` where it has more bytes, or is compressed."""
    if (coding := request.headers.get("content-encoding", "identity").strip().lower()) != "identity":
        raise Problem(415, f"expected a body without Content-Encoding, got {coding[:100]}; send it as it is")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > most:
            raise Problem(413, f"expected a body of at most {most} bytes")
    return bytes(body)
