"""The answer of a provider that speaks another format than the client."""

from __future__ import annotations

import json

from sdk import clock, llm
from sdk.policy import Chunks, Reject, ResponseStreamContext

MAX_ANSWER_BYTES = 32 << 20
"""The most bytes of a whole answer, which is translated at its end."""


async def translate(
    ctx: ResponseStreamContext, chunks: Chunks, shape: llm.Shape, to: llm.Shape, *, wants_usage: bool
) -> Chunks:
    """An answer that is neither JSON nor an event stream, such as an error of a proxy, passes as it is."""
    media_type = ctx.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "text/event-stream":
        translator = llm.StreamTranslator(shape, to, wants_usage=wants_usage, created=int(clock.now()))
        async for chunk in chunks:
            if piece := translator.feed(chunk):
                yield piece
        yield translator.end()
    elif media_type == "application/json":
        yield translate_whole(await whole_answer(ctx, chunks), ctx.status_code, shape, to)
    else:
        async for chunk in chunks:
            yield chunk


async def whole_answer(ctx: ResponseStreamContext, chunks: Chunks) -> bytes:
    answer = bytearray()
    async for chunk in chunks:
        answer += chunk
        if len(answer) > MAX_ANSWER_BYTES:
            raise Reject(llm.problem(502, f"{ctx.request.upstream} answers with more than {MAX_ANSWER_BYTES} bytes"))
    return bytes(answer)


def translate_whole(answer: bytes, status: int, shape: llm.Shape, to: llm.Shape) -> bytes:
    try:
        document = json.loads(answer)
        return json.dumps(llm.translate_answer(document, shape, to, status=status, created=int(clock.now()))).encode()
    except (ValueError, RecursionError) as error:
        if status >= 400:
            return answer
        raise Reject(llm.problem(502, f"the provider's answer cannot be translated: {error}")) from None
