"""Tokens that stand for the client's values in one exchange, and their restoration in its answer.

A token is random and belongs to one exchange. Values and tokens are in the exchange's metadata and nowhere else. A text
that looks like a token and is none of the exchange's, such as one that a model has invented, stays as it is.
"""

from __future__ import annotations

import base64
import codecs
import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from sdk.llm import EventFilter
from sdk.masking import MaskedStrings, MaskedText, Masking, Span, mask_slices
from sdk.policy import Chunks
from sdk.streams import sse_events

KEY = "secret_pii_mask"
"""The key of the exchange's metadata with the values by their tokens. Redaction takes out what has such a name."""
MAX_TOKENS = 1000
"""The most values of an exchange that get a token. Metadata is sent with each later execution of the exchange."""
WITHOUT = "[masked]"
"""What replaces a value that gets no token."""
TOKEN = re.compile(r"\[[A-Za-z][A-Za-z0-9_]{0,31}:[a-z2-7]{16}\]")
BEGINNING = re.compile(r"\[(?:[A-Za-z][A-Za-z0-9_]{0,31}(?::[a-z2-7]{0,16})?)?\Z")
LONGEST = 51
"""The most characters of a token."""


class Tokens:
    """The tokens of one exchange."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)
        self._tokens = {value: token for token, value in self._values.items()}
        self._known = len(self._values)

    def replace(self, kind: str, value: str) -> str:
        """The token of a value: the same for each occurrence."""
        if value in self._tokens:
            return self._tokens[value]
        if len(self._values) >= MAX_TOKENS or not is_restorable(value):
            return WITHOUT
        token = f"[{kind}:{base64.b32encode(secrets.token_bytes(10)).decode().lower()}]"
        self._values[token], self._tokens[value] = value, token
        return token

    def store(self, metadata: MutableMapping[str, Any]) -> None:
        """Writes the tokens to the exchange's metadata, if there are new ones."""
        if len(self._values) > self._known:
            metadata[KEY] = self._values
            self._known = len(self._values)


def is_restorable(value: str) -> bool:
    """Whether the value can stand for its token in a string of JSON, also in one within another, without an escape."""
    return value.isprintable() and '"' not in value and "\\" not in value


# ------------------------------------------------------------------ answers


@dataclass(frozen=True, slots=True)
class KnownTokens:
    """The detector of an exchange's tokens."""

    values: Mapping[str, str]
    name: str = "token"
    longest: int = LONGEST

    def find(self, text: str, at: int) -> Iterator[Span]:
        return (match.span() for match in TOKEN.finditer(text, at) if match.group() in self.values)

    def held_from(self, text: str, at: int) -> int:
        start = text.rfind("[", max(at, len(text) - self.longest + 1))
        return start if start >= 0 and BEGINNING.match(text, start) else len(text)


def restoring(values: Mapping[str, str], count: Callable[[], None]) -> Masking:
    """The masking that replaces an exchange's tokens by their values."""
    return Masking([KnownTokens(values)], {"token": lambda token: values[token]}, lambda _: count())


async def restore_events(chunks: Chunks, masking: Masking, limit: int) -> Chunks:
    """Restores values in server-sent events, in which a token may come in several events."""
    events = EventFilter(lambda: MaskedText(masking), MaskedStrings(masking).mask)
    async for event in sse_events(chunks, limit):
        if event.is_whole:
            for piece in await events.feed(event):
                yield piece
    for piece in events.end():
        yield piece


async def restore_bytes(chunks: Chunks, values: Mapping[str, str], encoding: str, count: Callable[[], None]) -> Chunks:
    """Restores values in a body whose charset encodes ASCII as ASCII. Each byte is a character of the searched text, so
    that any body passes; a value that the charset does not have keeps its token."""
    masking = restoring(dict(_in_bytes(values, encoding)), count)
    async for part in mask_slices(_characters(chunks), masking):
        if part:
            yield part.encode("latin-1")


async def _characters(chunks: Chunks) -> AsyncIterator[str]:
    async for chunk in chunks:
        yield bytes(chunk).decode("latin-1")


def _in_bytes(values: Mapping[str, str], encoding: str) -> Iterator[tuple[str, str]]:
    encode = codecs.lookup(encoding).encode
    for token, value in values.items():
        try:
            yield token, encode(value)[0].decode("latin-1")
        except UnicodeEncodeError:
            continue
