"""An exchange with a language model. What a recording does not have is null here, and never 0 or an empty text."""

from __future__ import annotations

from typing import Any, Literal

from gatewright_controller.management.shapes.answer import Answered

Recorded = Literal["whole", "cut", "absent", "unreadable"]
"""How much of a body was recorded: all, its beginning, nothing, or bytes that cannot be decoded."""


class LlmPromptText(Answered, frozen=True):
    """A text of a prompt."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str


class LlmAnswerText(Answered, frozen=True):
    """A text of an answer; the pieces of a streamed one are joined."""

    kind: Literal["text", "reasoning", "refusal", "other"]
    text: str


class LlmToolCall(Answered, frozen=True):
    """A call of a tool that a model asks for."""

    name: str
    arguments: str
    """JSON, as far as it has come."""


class LlmTokens(Answered, frozen=True):
    """The tokens of an answer."""

    input: int
    output: int
    cached: int
    """Those of `input` that were read from the provider's cache."""
    cache_written: int
    reasoning: int
    """Those of `output` that the model reasoned with."""


class LlmError(Answered, frozen=True):
    """An error that a provider reports in an answer."""

    type: str
    message: str
    code: str


class LlmBudget(Answered, frozen=True):
    """What `llm-budget` did for the exchange in one budget."""

    budget: str
    unit: Literal["tokens", "money"] | None
    """null: the recording does not say."""
    reserved: str | None
    """An exact number as text."""
    settled: str | None
    """As `reserved`; null: not settled, or the recording does not say."""


class LlmVerdict(Answered, frozen=True):
    """A finding of `prompt-guard`."""

    direction: str
    """request or response."""
    check: str
    rule: str
    action: str
    details: dict[str, Any]


class LlmPrompt(Answered, frozen=True):
    """The prompt, as the client sent it."""

    recorded: Recorded
    texts: list[LlmPromptText]
    tools: list[str]
    """Names of the tools that the model may call."""


class LlmAnswer(Answered, frozen=True):
    """The answer, as the client got it."""

    recorded: Recorded
    streamed: bool | None
    """Whether it is an event stream, or an array of events; null: the recording has no answer."""
    texts: list[LlmAnswerText]
    tool_calls: list[LlmToolCall]
    finished: bool | None
    """Whether it came to its end; null: unknown, since the recording has only its beginning."""
    error: LlmError | None


class LlmExchange(Answered, frozen=True):
    """An exchange with a language model, read from its recording."""

    shape: str
    """chat, completions, responses, messages, gemini or embeddings."""
    model: str | None
    """The model that the client asked for."""
    answer_model: str | None
    """The model as the answer names it."""
    streams: bool | None
    """Whether the client asked for the answer in pieces."""
    prompt: LlmPrompt
    answer: LlmAnswer
    usage_from: Literal["llm-usage", "answer", "none", "unknown"]
    """What counted the tokens. none: the answer has no usage."""
    tokens: LlmTokens | None
    cost: str | None
    """By `llm-usage`, exact."""
    outcome: str | None
    """By `llm-usage`: counted, no_usage, aborted or error."""
    client: str | None
    team: str | None
    budgets: list[LlmBudget]
    verdict: str | None
    """Of `prompt-guard`: pass, log, redact or block; null: it has left none."""
    findings: list[LlmVerdict]
