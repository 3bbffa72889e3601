"""A client's request to a language model: which model, what prompt, how much output, streamed or whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from gatewright.llm.estimate import estimate_tokens
from gatewright.llm.json_values import Json, count_of, object_of, text_of
from gatewright.llm.prompt import PromptText, prompt_texts, tool_names, tool_texts
from gatewright.llm.shapes import PathShape, Shape, shape_of_path
from gatewright.masking import read_json

MAX_MODEL = 256
"""The most characters of a model's name."""
_LIMITS: dict[Shape, tuple[str, ...]] = {
    "chat": ("max_completion_tokens", "max_tokens"),
    "completions": ("max_tokens",),
    "responses": ("max_output_tokens",),
    "messages": ("max_tokens",),
}


@dataclass(frozen=True, slots=True)
class LlmRequest:
    shape: Shape
    model: str
    """As the body names it, or the path (Gemini's, and deployments of Azure's). "" if neither does."""
    streams: bool
    """Whether the client asks for the answer in pieces."""
    max_output: int | None
    """The most tokens that the whole answer may have, by the client's own limit: for n choices, n times the limit.
    None: the client has set no limit. Embeddings have no output: 0."""
    document: Json = field(repr=False)
    """The body."""
    body: bytes = field(repr=False)
    """The body as it came."""
    is_ambiguous: bool = False
    """Whether an object of the body has a name twice. Parsers differ about which of the two counts, so the provider
    may read another model or another limit than stands here."""

    def texts(self) -> Iterator[PromptText]:
        """The texts of the prompt, with their roles and places: instructions, messages, calls of tools and their
        results, the input of embeddings. Definitions of tools, images, audio and files are none."""
        return prompt_texts(self.shape, self.document)

    def tool_texts(self) -> Iterator[PromptText]:
        """The strings of definitions of tools, such as their descriptions, but names and types. The model reads them as
        instructions: their role is system."""
        return tool_texts(self.document)

    def tools(self) -> tuple[str, ...]:
        """The names of the tools that the model may call, each once. A provider's own tool is named by its type."""
        return tool_names(self.shape, self.document)

    def estimated_input(self) -> int:
        """An estimate of the prompt's tokens that is mostly too high: of text by the kinds of its characters, and 1,600
        for an image. `gatewright.llm.estimate` has the whole rule, and how far it is from tokenizers."""
        return estimate_tokens(self.document)

    @property
    def asks_for_usage(self) -> bool:
        """Whether a client that streams a chat or a completion has asked for the usage chunk at its end."""
        return object_of(self.document.get("stream_options")).get("include_usage") is True


def read_request(method: str, path: str, body: bytes) -> LlmRequest | None:
    """The request to a model that this is, by the end of its path and by its body; None if it is no such request."""
    route = shape_of_path(path) if method == "POST" else None
    if route is None:
        return None
    document, is_ambiguous = _parse(body)
    if document is None or not _has_prompt(route, document):
        return None
    model = text_of(document.get("model"), MAX_MODEL)
    return LlmRequest(
        shape=route.shape,
        model=(route.model[:MAX_MODEL] or model) if route.shape == "gemini" else (model or route.model[:MAX_MODEL]),
        streams=_streams(route, document),
        max_output=_max_output(route, document),
        document=document,
        body=body,
        is_ambiguous=is_ambiguous,
    )


def _parse(body: bytes) -> tuple[Json | None, bool]:
    try:
        document, is_ambiguous = read_json(body)
    except (ValueError, RecursionError):
        return None, False
    return (document if isinstance(document, dict) else None), is_ambiguous


def _has_prompt(route: PathShape, document: Json) -> bool:
    match route.shape:
        case "chat":
            return isinstance(document.get("messages"), list)
        case "messages":
            return isinstance(document.get("messages"), list) and isinstance(document.get("model"), str)
        case "completions":
            return isinstance(document.get("prompt"), str | list)
        case "responses":
            is_known = isinstance(document.get("model"), str) or isinstance(document.get("prompt"), dict)
            return is_known and any(name in document for name in ("input", "prompt", "instructions"))
        case "embeddings":
            return isinstance(document.get("input"), str | list)
        case "gemini":
            return any(isinstance(document.get(name), list | dict) for name in ("contents", "content", "requests"))


def _streams(route: PathShape, document: Json) -> bool:
    match route.shape:
        case "gemini":
            return route.method == "streamGenerateContent"
        case "embeddings":
            return False
        case _:
            return document.get("stream") is True


def _max_output(route: PathShape, document: Json) -> int | None:
    match route.shape:
        case "embeddings":
            return 0
        case "gemini":
            return 0 if "mbedContent" in route.method else _gemini_max_output(document)
        case _:
            limit = _largest(document, *_LIMITS[route.shape])
            return None if limit is None else limit * _choices(route.shape, document)


def _gemini_max_output(document: Json) -> int | None:
    config = {**object_of(document.get("generation_config")), **object_of(document.get("generationConfig"))}
    limit = _largest(config, "maxOutputTokens", "max_output_tokens")
    return None if limit is None else limit * max(1, _largest(config, "candidateCount", "candidate_count") or 1)


def _choices(shape: Shape, document: Json) -> int:
    """How many answers a request asks for."""
    if shape == "chat":
        return max(1, count_of(document.get("n")) or 1)
    if shape == "completions":
        return max(1, _largest(document, "n", "best_of") or 1) * _prompts(document.get("prompt"))
    return 1


def _prompts(prompt: Any) -> int:
    """How many prompts a completion has: a text, numbers of tokens, or several of these."""
    is_several = isinstance(prompt, list) and any(isinstance(item, str | list) for item in prompt)
    return len(prompt) if is_several else 1


def _largest(holder: Json, *names: str) -> int | None:
    return max((count for name in names if (count := count_of(holder.get(name))) is not None), default=None)
