"""The checks of a request: its size, its texts, and those that base64 in them encodes."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from sdk.llm import LlmRequest, PromptText
from sdk.masking import Span

from .heuristics import scores
from .rules import Action, Rule
from .verdicts import Verdicts

Spans: TypeAlias = dict[tuple[str | int, ...], list[Span]]
"""Spans of texts, by the places of the texts."""
_ENCODED = re.compile(r"[A-Za-z0-9+/_-]{24,}={0,2}")
_LEAST_PRINTABLE = 0.9
LARGE = 65536
"""The characters of a prompt from which on it is checked in a thread, so that the event loop does other work."""
_SYSTEM_PLACES = {"system", "systemInstruction", "system_instruction", "instructions"}


@dataclass(frozen=True, slots=True)
class Message:
    """The texts of one message, in their order. A model reads them as one."""

    role: str
    texts: tuple[PromptText, ...]

    @property
    def text(self) -> str:
        return "".join(text.text for text in self.texts)

    def variants(self) -> Iterator[tuple[int, str]]:
        """All that is searched, each with its offset in `text`: each text, and if there are several, all of them."""
        at = 0
        for text in self.texts:
            yield at, text.text
            at += len(text.text)
        if len(self.texts) > 1:
            yield 0, self.text


def messages_of(request: LlmRequest) -> list[Message]:
    grouped: dict[tuple[Any, ...], list[PromptText]] = {}
    for text in (*request.texts(), *request.tool_texts()):
        depth = 1 if text.place[0] in _SYSTEM_PLACES else 2
        grouped.setdefault((text.role, text.place[:depth]), []).append(text)
    return [Message(key[0], tuple(texts)) for key, texts in grouped.items()]


def decoded_parts(text: str) -> Iterator[tuple[int, int, str]]:
    """The runs of base64 or base64url in a text that encode a readable text: start, end, and that text."""
    for match in _ENCODED.finditer(text):
        run = match[0].rstrip("=").translate(str.maketrans("-_", "+/"))
        try:
            decoded = base64.b64decode(run[: len(run) - (len(run) % 4 == 1)] + "=" * (-len(run) % 4)).decode()
        except (binascii.Error, UnicodeDecodeError):
            continue
        if decoded and sum(character.isprintable() for character in decoded) >= _LEAST_PRINTABLE * len(decoded):
            yield match.start(), match.end(), decoded


# ------------------------------------------------------------------ size


def sizes_of(request: LlmRequest, names: Sequence[str]) -> dict[str, int]:
    """The sizes with these names, of a request."""
    measures: Mapping[str, Callable[[], int]] = {
        "characters": lambda: sum(len(text.text) for text in (*request.texts(), *request.tool_texts())),
        "tokens": request.estimated_input,
        "messages": lambda: len({text.place[:2] for text in request.texts()}),
        "tools": lambda: len(request.tools()),
    }
    return {name: measures[name]() for name in names}


def check_size(request: LlmRequest, limits: Mapping[str, Any], verdicts: Verdicts, mode: str) -> None:
    names = [name for name in ("characters", "tokens", "messages", "tools") if name in limits]
    for name, size in sizes_of(request, names).items():
        if size > limits[name]:
            action: Action = "log" if mode == "log" else limits["action"]
            verdicts.add("size", name, action, size=size, limit=limits[name])


# ------------------------------------------------------------------ texts


def check_allow(messages: Sequence[Message], rules: Sequence[Rule], verdicts: Verdicts, mode: str) -> None:
    """The user's last message must match one of the rules, if there are any."""
    if not rules:
        return
    last = next((message for message in reversed(messages) if message.role == "user"), None)
    if last is None or not any(rule.has_match(text) for rule in rules for _, text in last.variants()):
        verdicts.add("allow", "none", "log" if mode == "log" else "block")


def check_injection(messages: Sequence[Message], params: Mapping[str, Any], verdicts: Verdicts, mode: str) -> None:
    if params["action"] == "off":
        return
    for message in messages:
        if message.role not in params["roles"]:
            continue
        found: dict[str, float] = {}
        for _, text in message.variants():
            found |= scores(text, params["off"])
            for _, _, decoded in decoded_parts(text):
                found |= scores(decoded, params["off"])
        total = round(sum(found.values()), 2)
        if total >= params["threshold"]:
            action: Action = "log" if mode == "log" else params["action"]
            verdicts.add("injection", "+".join(sorted(found)), action, score=total, role=message.role)


def check_rules(messages: Sequence[Message], rules: Sequence[tuple[str, Rule]], verdicts: Verdicts) -> Spans:
    """Returns what to redact: for the places of texts the spans there, in their order."""
    redacted: Spans = {}
    for message in messages:
        spans: list[Span] = []
        for check, rule in rules:
            if "request" not in rule.directions or message.role not in rule.roles:
                continue
            found = list(spans_of(message, rule))
            if found:
                verdicts.add(check, rule.name, rule.action, role=message.role)
            if rule.action == "redact":
                spans += found
        if spans:
            redacted |= spans_by_place(message, merged(spans))
    return redacted


def spans_of(message: Message, rule: Rule) -> Iterator[Span]:
    """The spans of the rule's matches in the message's joined text; for a match in what base64 encodes, its run."""
    for offset, text in message.variants():
        yield from ((offset + start, offset + end) for start, end in rule.find(text, 0))
        for start, end, decoded in decoded_parts(text):
            if rule.has_match(decoded):
                yield offset + start, offset + end


def merged(spans: Sequence[Span]) -> list[Span]:
    """The spans in their order, overlapping ones joined."""
    result: list[Span] = []
    for start, end in sorted(spans):
        if result and start < result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result


def spans_by_place(message: Message, spans: Sequence[Span]) -> Spans:
    """Spans of the joined text, as spans of each text."""
    result: Spans = {}
    at = 0
    for text in message.texts:
        end = at + len(text.text)
        here = [(max(first, at) - at, min(last, end) - at) for first, last in spans if first < end and last > at]
        if here:
            result[text.place] = here
        at = end
    return result


def redact(document: Any, spans: Spans, replacement: str) -> None:
    """Replaces the spans of texts in the document, in place."""
    for place, parts in spans.items():
        holder = document
        for step in place[:-1]:
            holder = holder[step]
        text: str = holder[place[-1]]
        for start, end in reversed(parts):
            text = text[:start] + replacement + text[end:]
        holder[place[-1]] = text


async def in_time(size: int, check: Any, *arguments: Any) -> Any:
    """Calls a check of so many characters, in a thread if they are many."""
    return await asyncio.to_thread(check, *arguments) if size > LARGE else check(*arguments)
