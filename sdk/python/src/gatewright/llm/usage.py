"""How many tokens an answer took, with one meaning for all providers.

Providers differ in what their numbers include. OpenAI's prompt_tokens include cached ones, and completion_tokens
reasoning; Anthropic's input_tokens do not include what was read from or written to the cache; Gemini's
candidatesTokenCount does not include thoughts, nor promptTokenCount the prompts of its tools.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gatewright.llm.json_values import count_of, object_of
from gatewright.llm.shapes import Shape

Counts = Mapping[str, int]
"""The counts of a provider's usage object, by its names for them: those of objects within it as `outer.inner`."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer, or of several: usages can be added."""

    input: int = 0
    """All tokens of the prompt, cached ones included."""
    output: int = 0
    """All tokens that the model made, reasoning included."""
    cached: int = 0
    """Those of `input` that were read from the provider's cache."""
    cache_written: int = 0
    """Those of `input` that were written to the provider's cache."""
    reasoning: int = 0
    """Those of `output` that the model reasoned with."""

    @property
    def total(self) -> int:
        return self.input + self.output

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input + other.input,
            self.output + other.output,
            self.cached + other.cached,
            self.cache_written + other.cache_written,
            self.reasoning + other.reasoning,
        )


def read_usage(shape: Shape, usage: Any) -> Usage | None:
    """The tokens of a provider's usage object: `usage`, or `usageMetadata` of Gemini. None: it counts none."""
    return usage_of(shape, read_counts(usage))


def read_counts(usage: Any) -> dict[str, int]:
    """All counts of a usage object and of the objects in it. Values that are no counts are not there."""
    return dict(_counts(object_of(usage)))


def usage_of(shape: Shape, counts: Counts) -> Usage | None:
    """The tokens that these counts stand for; None if they have neither input nor output."""
    if shape == "messages":
        return _anthropic(counts)
    return _gemini(counts) if shape == "gemini" else _openai(counts)


def _counts(usage: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for name, value in usage.items():
        if isinstance(value, dict):
            inner = ((f"{name}.{key}", count_of(item)) for key, item in value.items())
            yield from ((key, count) for key, count in inner if count is not None)
        elif (count := count_of(value)) is not None:
            yield name, count


def _first(counts: Counts, *names: str) -> int | None:
    return next((counts[name] for name in names if name in counts), None)


def _openai(counts: Counts) -> Usage | None:
    """Of chat completions and completions (prompt, completion), of responses (input, output), and of embeddings.

    If total_tokens is more than their sum, the rest is output which the provider reports beside: xAI's reasoning, and
    thoughts of Gemini's endpoint for clients of OpenAI.
    """
    total = _first(counts, "total_tokens")
    given_input = _first(counts, "prompt_tokens", "input_tokens")
    given_output = _first(counts, "completion_tokens", "output_tokens")
    if given_input is None and given_output is None and total is None:
        return None
    output = given_output or 0
    if given_input is None:
        return _usage((total or output) - output if (total or 0) > output else 0, output)
    if given_output is not None and total is not None:
        output = max(output, total - given_input)
    details = ("prompt_tokens_details", "input_tokens_details")
    return _usage(
        given_input,
        output,
        cached=_first(counts, *(f"{name}.cached_tokens" for name in details), "prompt_cache_hit_tokens"),
        cache_written=_first(counts, *(f"{name}.cache_write_tokens" for name in details)),
        reasoning=_first(counts, *(f"{name}_tokens_details.reasoning_tokens" for name in ("completion", "output"))),
    )


def _anthropic(counts: Counts) -> Usage | None:
    fresh, output = counts.get("input_tokens"), counts.get("output_tokens")
    cached = counts.get("cache_read_input_tokens", 0)
    written = counts.get("cache_creation_input_tokens", 0)
    if fresh is None and output is None:
        return None
    reasoning = counts.get("output_tokens_details.thinking_tokens")
    all_input = (fresh or 0) + cached + written
    return _usage(all_input, output or 0, cached=cached, cache_written=written, reasoning=reasoning)


def _gemini(counts: Counts) -> Usage | None:
    prompt = counts.get("promptTokenCount")
    candidates = _first(counts, "candidatesTokenCount", "responseTokenCount")
    thoughts = counts.get("thoughtsTokenCount")
    if prompt is None and candidates is None and thoughts is None:
        return None
    return _usage(
        (prompt or 0) + counts.get("toolUsePromptTokenCount", 0),
        (candidates or 0) + (thoughts or 0),
        cached=counts.get("cachedContentTokenCount"),
        reasoning=thoughts,
    )


def _usage(
    all_input: int, output: int, *, cached: int | None = 0, cache_written: int | None = 0, reasoning: int | None = 0
) -> Usage:
    """Parts are never more than what they are parts of."""
    from_cache = min(cached or 0, all_input)
    return Usage(
        all_input, output, from_cache, min(cache_written or 0, all_input - from_cache), min(reasoning or 0, output)
    )
