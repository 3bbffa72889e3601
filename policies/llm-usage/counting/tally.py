"""The metrics of the policy."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Literal

from sdk.llm import Shape, Usage
from sdk.metrics import Counter, Histogram

from .labels import Combinations, Labels

Outcome = Literal["counted", "no_usage", "aborted", "error", "unknown_shape"]
MOST_COMBINATIONS = 1000
COMBINATIONS = Combinations(MOST_COMBINATIONS)
"""Of all instances in this process, since they count in the same metrics."""
BILLION = 10**9
NAMES = list(Labels._fields)
REQUESTS = Counter(
    "llm_requests_total", "Requests to language models, and others.", [*NAMES, "outcome"], max_label_sets=10_000
)
INPUT = Counter("llm_input_tokens_total", "Tokens of prompts, cached ones included.", NAMES, max_label_sets=2000)
OUTPUT = Counter("llm_output_tokens_total", "Tokens of answers, reasoning included.", NAMES, max_label_sets=2000)
CACHED = Counter("llm_cached_tokens_total", "Tokens of prompts read from a cache.", NAMES, max_label_sets=2000)
CACHE_WRITTEN = Counter(
    "llm_cache_written_tokens_total", "Tokens of prompts written to a cache.", NAMES, max_label_sets=2000
)
REASONING = Counter("llm_reasoning_tokens_total", "Tokens of answers for reasoning.", NAMES, max_label_sets=2000)
COST = Counter("llm_cost_billionths_total", "Cost in billionths of the prices' currency.", NAMES, max_label_sets=2000)
UNPRICED = Counter("llm_unpriced_total", "Answers with usage for which no price is known.", NAMES, max_label_sets=2000)

GEN_AI_NAMES = ["gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model"]
TOKEN_USAGE = Histogram(
    "gen_ai_client_token_usage",
    "Tokens of a request or an answer (OpenTelemetry's gen_ai.client.token.usage).",
    [*GEN_AI_NAMES, "gen_ai_token_type"],
    buckets=[4**power for power in range(14)],
)
DURATION = Histogram(
    "gen_ai_client_operation_duration_seconds",
    "How long an answer took (OpenTelemetry's gen_ai.client.operation.duration).",
    GEN_AI_NAMES,
    buckets=[0.01 * 2**power for power in range(14)],
)
OPERATIONS: dict[Shape, str] = {
    "chat": "chat",
    "completions": "text_completion",
    "responses": "chat",
    "messages": "chat",
    "gemini": "generate_content",
    "embeddings": "embeddings",
}
PROVIDERS: dict[Shape, str] = {"messages": "anthropic", "gemini": "gcp.gemini"}


def count(labels: Labels, outcome: Outcome, usage: Usage | None = None, cost: Decimal | None = None) -> None:
    """Counts a request, and the tokens and the cost of its answer."""
    bound = COMBINATIONS.bound(labels)._asdict()
    REQUESTS.inc(outcome=outcome, **bound)
    if usage is None:
        return
    for counter, tokens in (
        (INPUT, usage.input),
        (OUTPUT, usage.output),
        (CACHED, usage.cached),
        (CACHE_WRITTEN, usage.cache_written),
        (REASONING, usage.reasoning),
    ):
        if tokens:
            counter.inc(tokens, **bound)
    if cost is None:
        UNPRICED.inc(**bound)
    elif cost:
        COST.inc(int((cost * BILLION).to_integral_value(ROUND_HALF_EVEN)), **bound)


def observe_gen_ai(shape: Shape, labels: Labels, usage: Usage | None, seconds: float) -> None:
    """Counts by the names of OpenTelemetry's conventions."""
    names = {
        "gen_ai_operation_name": OPERATIONS[shape],
        "gen_ai_provider_name": PROVIDERS.get(shape, "openai"),
        "gen_ai_request_model": COMBINATIONS.bound(labels).model,
    }
    DURATION.observe(max(0.0, seconds), **names)
    if usage is not None:
        for kind, tokens in (("input", usage.input), ("output", usage.output)):
            TOKEN_USAGE.observe(tokens, **names, gen_ai_token_type=kind)
