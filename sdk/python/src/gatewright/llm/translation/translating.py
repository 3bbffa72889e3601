"""Requests, paths and answers of one format in another: which pairs there are, and which code has them."""

from __future__ import annotations

from gatewright.llm.json_values import Json
from gatewright.llm.request import LlmRequest
from gatewright.llm.shapes import Shape
from gatewright.llm.translation.mistakes import TranslationError
from gatewright.llm.translation.stream_to_chat import MessagesToChat
from gatewright.llm.translation.stream_to_messages import ChatToMessages
from gatewright.llm.translation.to_chat import to_chat
from gatewright.llm.translation.to_messages import to_messages
from gatewright.streams import LIMIT, SseParser, StreamError

_PATHS: dict[Shape, str] = {"chat": "/chat/completions", "messages": "/messages"}
_FORMATS = tuple(_PATHS)


def can_translate(shape: Shape, to: Shape) -> bool:
    """Whether requests and answers of one shape have a translation into the other."""
    return shape != to and shape in _FORMATS and to in _FORMATS


def translate_request(
    request: LlmRequest,
    to: Shape,
    model: str,
    *,
    max_tokens: int = 4096,
    limit_name: str = "max_completion_tokens",
) -> Json:
    """The document of a request of OpenAI's chat completions as one of Anthropic's messages, or the reverse.

    model: its name at the provider. max_tokens: the limit of a message whose chat has none. limit_name: the member of
    a chat for the limit: max_completion_tokens, or max_tokens for providers that know no other.

    TranslationError: it has something that the other format has not. docs/how-to/policy-llm.md says what is carried
    over, and what is left out.
    """
    if not can_translate(request.shape, to):
        raise TranslationError(f"requests of the shape {request.shape} have no translation into {to}")
    if to == "messages":
        return to_messages(request.document, model, max_tokens)
    return to_chat(request.document, model, limit_name)


def translate_path(path: str, to: Shape) -> str:
    """The path of the other format: /v1/messages for /v1/chat/completions, and the reverse."""
    plain = path.rstrip("/")
    for ending in _PATHS.values():
        if plain.endswith(ending):
            return plain.removesuffix(ending) + _PATHS[to]
    raise TranslationError(f"expected a path that ends with {' or '.join(_PATHS.values())}, got {path}")


class StreamTranslator:
    """Translates an event stream, fed in pieces that are cut anywhere: each event as soon as it is complete.

    shape: that of the stream. to: that of the result. wants_usage: whether the client of a chat has asked for the chunk
    of usage. created: the time of a chat completion, in seconds since 1970. limit: the most bytes of an event; a longer
    one ends the result with an error.

    What a provider sends raises nothing. A stream that breaks off has no end in the result either.
    """

    def __init__(
        self, shape: Shape, to: Shape, *, wants_usage: bool = False, created: int = 0, limit: int = LIMIT
    ) -> None:
        if not can_translate(shape, to):
            raise TranslationError(f"answers of the shape {shape} have no translation into {to}")
        self._parser: SseParser | None = SseParser(limit)
        self._events: MessagesToChat | ChatToMessages = (
            MessagesToChat(wants_usage=wants_usage, created=created) if to == "chat" else ChatToMessages()
        )

    def feed(self, piece: bytes) -> bytes:
        """What the events that this piece completes become; b"" if there is nothing yet."""
        if self._parser is None:
            return b""
        translated: list[bytes] = []
        try:
            for event in self._parser.feed(piece):
                if event.data is not None:
                    translated += self._events.feed(event.data)
        except StreamError as error:
            self._parser = None
            translated.append(self._events.fail(f"the gateway cannot translate the answer: {error}"))
        return b"".join(translated)

    def end(self) -> bytes:
        """The rest, if the stream ends without the blank line of its last event, or without [DONE]."""
        if self._parser is None:
            return b""
        translated: list[bytes] = []
        for event in self._parser.end():
            if event.data is not None:
                translated += self._events.feed(event.data)
        return b"".join([*translated, *self._events.end()])
