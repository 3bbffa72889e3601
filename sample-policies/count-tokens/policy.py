"""Tells the client at the end of a streamed chat completion how many tokens it took.

`on_request` counts those of the prompt, `on_response_stream` those of what the model says, and adds an event with
`usage` before the one that says `[DONE]`. All other events go on as they came, at once. Where upstream tells the usage
itself (`stream_options: {"include_usage": true}`), nothing is added.

Know its limits. A token is here a word or a piece of one, up to three digits, or a sign: an estimate. For a model's own
figure, give `tokens` its tokenizer, in `requirements.txt` and `prepare`.
"""

import json
import re
from typing import Any

from sdk.policy import Chunks, RequestAction, RequestContext, ResponseStreamContext
from sdk.streams import SseEvent, sse_events

Json = dict[str, Any]
NOTE = "count-tokens"
TOKEN = re.compile(r" ?[^\W\d_]{1,8}|\d{1,3}|[^\w\s]|_|\s+")


def on_request(ctx: RequestContext, params: Json) -> RequestAction:
    asked = parsed(ctx.body or b"")
    messages = asked.get("messages")
    ctx.metadata[NOTE] = sum(map(tokens, contents(messages if isinstance(messages, list) else [])))
    return None


async def on_response_stream(ctx: ResponseStreamContext, chunks: Chunks, params: Json) -> Chunks:
    if not ctx.headers.get("content-type", "").lower().startswith("text/event-stream"):
        async for chunk in chunks:
            yield chunk
        return
    said: list[str] = []
    last: Json = {}
    async for event in sse_events(chunks, params["maxEventBytes"]):
        document = parsed(event.data or "")
        if document.get("object") == "chat.completion.chunk":
            last = document if document.get("usage") is None else {}
            said += texts(document)
        if (event.data or "").strip() == "[DONE]" and last:
            yield usage_event(last, ctx.metadata.get(NOTE, 0), tokens("".join(said))).encode()
        yield event.raw


def usage_event(last: Json, prompt: int, completion: int) -> SseEvent:
    """As upstream itself would send it: a chunk without choices."""
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return SseEvent(json.dumps({**last, "choices": [], "usage": usage}, separators=(",", ":")))


def tokens(text: str) -> int:
    return sum(1 for _ in TOKEN.finditer(text))


def contents(messages: list[Any]) -> list[str]:
    """The texts of messages: each has one, or parts that have."""
    found = [message.get("content") for message in messages if isinstance(message, dict)]
    parts = [part.get("text") for parts in found if isinstance(parts, list) for part in parts if isinstance(part, dict)]
    return [text for text in [*found, *parts] if isinstance(text, str)]


def texts(document: Json) -> list[str]:
    """Of all choices of a chunk."""
    choices = document.get("choices")
    return contents([one.get("delta") for one in choices if isinstance(one, dict)] if isinstance(choices, list) else [])


def parsed(data: str | bytes) -> Json:
    """{} of what is no JSON object."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
