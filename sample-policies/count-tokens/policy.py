"""Adds the number of tokens to the end of a streamed chat completion.

`on_request` counts the tokens of the prompt, `on_response_stream` those of the model's text, and adds an event with
`usage` before `[DONE]`. All other events go on unchanged, at once. If upstream sends the usage itself
(`stream_options: {"include_usage": true}`), nothing is added.

Limits: a token is estimated as a word or a part of one, up to three digits, or a sign. For exact numbers let `tokens`
use the model's tokenizer, installed by `requirements.txt` and loaded in `prepare`.
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
    completion_request = parse_object(ctx.body or b"")
    messages = completion_request.get("messages")
    ctx.metadata[NOTE] = sum(map(tokens, contents(messages if isinstance(messages, list) else [])))
    return None


async def on_response_stream(ctx: ResponseStreamContext, chunks: Chunks, params: Json) -> Chunks:
    if not ctx.headers.get("content-type", "").lower().startswith("text/event-stream"):
        async for chunk in chunks:
            yield chunk
        return
    answer: list[str] = []
    last: Json = {}
    async for event in sse_events(chunks, params["maxEventBytes"]):
        document = parse_object(event.data or "")
        if document.get("object") == "chat.completion.chunk":
            last = document if document.get("usage") is None else {}
            answer += texts(document)
        if (event.data or "").strip() == "[DONE]" and last:
            yield usage_event(last, ctx.metadata.get(NOTE, 0), tokens("".join(answer))).encode()
        yield event.raw


def usage_event(last: Json, prompt: int, completion: int) -> SseEvent:
    """The event that upstream itself would send: a chunk without choices."""
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return SseEvent(json.dumps({**last, "choices": [], "usage": usage}, separators=(",", ":")))


def tokens(text: str) -> int:
    return sum(1 for _ in TOKEN.finditer(text))


def contents(messages: list[Any]) -> list[str]:
    """The texts of messages: each has a text, or parts with texts."""
    bodies = [message.get("content") for message in messages if isinstance(message, dict)]
    parts = [part.get("text") for body in bodies if isinstance(body, list) for part in body if isinstance(part, dict)]
    return [text for text in [*bodies, *parts] if isinstance(text, str)]


def texts(document: Json) -> list[str]:
    """The texts of all choices of a chunk."""
    choices = document.get("choices")
    items = choices if isinstance(choices, list) else []
    return contents([choice.get("delta") for choice in items if isinstance(choice, dict)])


def parse_object(data: str | bytes) -> Json:
    """The JSON object; {} if the data is none."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
