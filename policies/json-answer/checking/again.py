"""Makes the request that tells a model what was wrong with its answer. No I/O."""

from __future__ import annotations

import json
from typing import Any

from sdk.llm import Shape

Json = dict[str, Any]
REASON = "Your last answer is not the JSON that is expected: {}. Answer again, with nothing but the JSON."


def with_correction(body: bytes, shape: Shape, wrong: str, explanation: str) -> bytes | None:
    """The request with the wrong answer of the model and what is wrong with it. None: it has no place for them.

    A model that has answered nothing gets no empty message, which providers refuse.
    """
    document = json.loads(body)
    reason = REASON.format(explanation)
    match shape:
        case "chat" | "messages":
            turns = [_message("assistant", wrong)] if wrong else []
            return _appended(document, "messages", [*turns, _message("user", reason)])
        case "responses":
            if isinstance(document.get("input"), str):
                document["input"] = [_message("user", document["input"])]
            turns = [_message("assistant", wrong)] if wrong else []
            return _appended(document, "input", [*turns, _message("user", reason)])
        case "gemini":
            turns = [_content("model", wrong)] if wrong else []
            return _appended(document, "contents", [*turns, _content("user", reason)])
        case "completions" if isinstance(document.get("prompt"), str):
            return _encoded({**document, "prompt": f"{document['prompt']}{wrong}\n\n{reason}\n\n"})
        case _:
            return None


def _message(role: str, text: str) -> Json:
    return {"role": role, "content": text}


def _content(role: str, text: str) -> Json:
    return {"role": role, "parts": [{"text": text}]}


def _appended(document: Json, name: str, turns: list[Json]) -> bytes | None:
    earlier = document.get(name)
    return _encoded({**document, name: [*earlier, *turns]}) if isinstance(earlier, list) else None


def _encoded(document: Json) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
