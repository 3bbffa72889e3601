"""Usage at the end of streamed chats and completions, which providers send only if the request asks for it."""

from __future__ import annotations

import json
from typing import Any

from gatewright.llm.json_values import object_of
from gatewright.llm.request import LlmRequest

_ASK = b'"stream_options":{"include_usage":true}'


def with_stream_usage(request: LlmRequest) -> bytes | None:
    """The request's body, which asks for usage at the end of the stream. None: there is nothing to change, for the
    shape needs no asking, the answer is whole, or the client has asked itself.

    If it returns a body, the client does not expect the extra chunk: keep events from it for whose document
    `is_usage_chunk` is true. All bytes of the client's stay as they are, unless it has stream_options of its own.
    """
    if not request.streams or request.shape not in ("chat", "completions") or request.asks_for_usage:
        return None
    body = request.body
    if "stream_options" not in request.document and body.lstrip()[:1] == b"{":
        start, _, rest = body.partition(b"{")
        return start + b"{" + _ASK + b"," + rest  # it is not empty: it has a prompt
    options = {**object_of(request.document.get("stream_options")), "include_usage": True}
    return json.dumps({**request.document, "stream_options": options}, separators=(",", ":")).encode()


def is_usage_chunk(document: Any) -> bool:
    """Whether the document of an event is the chunk that providers add for include_usage: usage, and no choice."""
    holder = object_of(document)
    return holder.get("choices") == [] and isinstance(holder.get("usage"), dict)
