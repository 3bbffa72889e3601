"""Calls of PyPI's litellm, unchanged: a JSON array of them on stdin, and on stdout an array of what became of each.

A call has the `url` of the provider or of the gateway, the `provider` whose format litellm speaks, and the `model`,
which names the answer there; `stream` and `tools` say what litellm asks for.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import litellm
import openai

HI = [{"role": "user", "content": "Hi"}]
PARAMETERS = {"type": "object", "properties": {"location": {"type": "string"}}}
WEATHER = {"name": "get_weather", "description": "The weather at a place", "parameters": PARAMETERS}
TOOLS = [{"type": "function", "function": WEATHER}]


def complete(call: dict[str, Any]) -> dict[str, Any]:
    """The answer, which a stream's chunks are put together to, or the error that litellm has raised."""
    options: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}} if call.get("stream") else {}
    if call.get("tools"):
        options["tools"] = TOOLS
    try:
        answer = litellm.completion(
            model=f"{call['provider']}/{call['model']}",
            api_base=f"{call['url']}/v1" if call["provider"] == "openai" else call["url"],
            api_key="k",
            messages=HI,
            max_tokens=50,
            max_retries=0,
            **options,
        )
        return answer_of(litellm.stream_chunk_builder(list(answer), messages=HI) if call.get("stream") else answer)
    except openai.APIStatusError as error:  # from which litellm's errors are made
        return {"error": type(error).__name__, "status": error.status_code}


def answer_of(answer: Any) -> dict[str, Any]:
    """What litellm does not make itself, as it makes ids and times."""
    (choice,) = answer.choices
    calls = [[called.function.name, called.function.arguments] for called in choice.message.tool_calls or []]
    return {
        "content": choice.message.content or "",
        "calls": calls,
        "reason": choice.finish_reason,
        "tokens": [answer.usage.prompt_tokens, answer.usage.completion_tokens],
    }


if __name__ == "__main__":
    litellm.suppress_debug_info = True  # which it prints to stdout
    json.dump([complete(call) for call in json.load(sys.stdin)], sys.stdout)
