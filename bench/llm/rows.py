"""The rows: the provider itself, our gateway, LiteLLM's proxy. All get the same request, and check it with their own
means."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from bench.rows import Attachment

DIRECT, GATEWRIGHT, LITELLM, UNFILTERED = "direct", "gatewright", "litellm", "litellm-unfiltered"
KEYS = (DIRECT, GATEWRIGHT, LITELLM, UNFILTERED)
TITLES = {
    DIRECT: "provider alone",
    GATEWRIGHT: "Gatewright: usage, budget, guard, mask",
    LITELLM: "LiteLLM's proxy: cost, budget, content filter",
    UNFILTERED: "LiteLLM's proxy: cost, budget",
}
PATH = "/v1/chat/completions"
MODEL = "gpt-4o-mini"
BEFORE, ADDRESS = "write to ", "ada.lovelace@example.com"
KEY_PATTERN = r"\bsk-[A-Za-z0-9]{20,64}\b"
TIMEOUT = "8s"
"""Of an execution: longer than a busy machine takes for the first ones of a fresh process."""
CHAIN: tuple[Attachment, ...] = (
    {
        "name": "llm-usage",
        "version": "v1",
        "timeout": TIMEOUT,
        "params": {"prices": {f"{MODEL}*": {"input": "0.15", "output": "0.60"}}},
    },
    {
        "name": "llm-budget",
        "version": "v1",
        "timeout": TIMEOUT,
        "params": {"budgets": [{"name": "all", "tokens": 10**12, "period": "day", "per": []}]},
    },
    {
        "name": "prompt-guard",
        "version": "v1",
        "timeout": TIMEOUT,
        "params": {"deny": [{"name": "key", "regex": KEY_PATTERN}], "size": {"tokens": 100_000}},
    },
    {
        "name": "pii-mask",
        "version": "v1",
        "timeout": TIMEOUT,
        "params": {"directions": ["request"], "replacement": {"with": "token"}},
    },
)
"""The address becomes a token for the provider, and is restored in the answer."""
SENTENCE = "The order of last week came in two parcels, one of which was damaged when it was delivered. "
PROMPT = f"{SENTENCE * 10}Please {BEFORE}{ADDRESS} today, and answer all questions politely."

MESSAGES = [
    {"role": "system", "content": "You write letters for a shop."},
    {"role": "user", "content": PROMPT},
]


@dataclass(frozen=True)
class Expectation:
    """path: of the row at its own port. mark: the end of each answer; "" for any."""

    path: str
    mark: str = ""


EXPECTED: Mapping[str, Expectation] = {
    DIRECT: Expectation(f"/{DIRECT}{PATH}", ADDRESS),
    GATEWRIGHT: Expectation(f"/{GATEWRIGHT}{PATH}", ADDRESS),
    LITELLM: Expectation(PATH),
    UNFILTERED: Expectation(PATH, ADDRESS),
}
"""LiteLLM's filter replaces an address for good, so its answers have none."""


def question(tokens: int) -> str:
    """The request, whose answer has so many tokens."""
    options = {"stream": True, "stream_options": {"include_usage": True}, "max_tokens": tokens}
    return json.dumps({"model": MODEL, "messages": MESSAGES, **options})


def whole_question() -> str:
    """A request for a whole answer, of which a cache may keep the answer."""
    return json.dumps({"model": MODEL, "messages": MESSAGES, "max_tokens": 20, "temperature": 0})


def api(provider: str) -> dict[str, object]:
    """The gateway's API; `provider` is HOST:PORT."""
    return {
        "apiVersion": "gatewright.dev/v1",
        "kind": "Api",
        "metadata": {"name": "bench-llm"},
        "spec": {
            "displayName": "Bench: language model",
            "version": "v1.0",
            "context": f"/{GATEWRIGHT}",
            "upstream": {"main": {"url": f"http://{provider}/{GATEWRIGHT}"}},
            "policies": list(CHAIN),
            "operations": [{"method": "POST", "path": PATH}],
        },
    }
