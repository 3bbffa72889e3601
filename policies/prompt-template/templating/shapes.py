"""Messages of a template, and system prompts, in the documents of all shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from sdk.llm import Shape

from .templates import Message, RefusedError

Json: TypeAlias = dict[str, Any]
PROMPTS: dict[Shape, tuple[str, ...]] = {
    "chat": ("messages",),
    "completions": ("prompt", "suffix"),
    "responses": ("input", "instructions", "prompt", "previous_response_id", "conversation"),
    "messages": ("messages", "system"),
    "gemini": ("contents", "content", "requests", "systemInstruction", "system_instruction", "cachedContent"),
    "embeddings": ("input",),
}
"""The members in which a request has its prompt: none of them may stand beside a template."""
BETWEEN = "\n\n"


def put_messages(shape: Shape, document: Json, messages: Sequence[Message]) -> None:
    """Writes a template's messages into a document without a prompt."""
    match shape:
        case "chat":
            document["messages"] = list(map(_message, messages))
        case "completions" | "embeddings":
            document[PROMPTS[shape][0]] = BETWEEN.join(message.text for message in messages)
        case "responses" | "messages":
            name = "instructions" if shape == "responses" else "system"
            if system := _system_texts(messages):
                document[name] = BETWEEN.join(system)
            document[PROMPTS[shape][0]] = [_message(message) for message in messages if message.role != "system"]
        case "gemini":
            if system := _system_texts(messages):
                document["systemInstruction"] = {"parts": [{"text": text} for text in system]}
            document["contents"] = [_content(message) for message in messages if message.role != "system"]


def _system_texts(messages: Sequence[Message]) -> list[str]:
    return [message.text for message in messages if message.role == "system"]


def _message(message: Message) -> Json:
    return {"role": message.role, "content": message.text}


def _content(message: Message) -> Json:
    return {"role": "model" if message.role == "assistant" else "user", "parts": [{"text": message.text}]}


def put_system(shape: Shape, document: Json, before: Sequence[str], behind: Sequence[str]) -> None:
    """Puts system prompts before and behind those of a document. RefusedError: the document has another form."""
    match shape:
        case "chat":
            messages = _list_of(document, "messages")
            document["messages"] = [*map(_system, before), *messages, *map(_system, behind)]
        case "completions":
            document["prompt"] = _around_prompt(document.get("prompt"), before, behind)
        case "responses":
            _put_into_response(document, before, behind)
        case "messages":
            document["system"] = _around_system(document.get("system"), before, behind)
        case "gemini":
            _put_into_gemini(document, before, behind)
        case "embeddings":
            pass


def _system(text: str) -> Json:
    return {"role": "system", "content": text}


def _list_of(document: Json, name: str) -> list[Any]:
    value = document.get(name)
    if not isinstance(value, list):
        raise RefusedError(f"{name}: expected an array")
    return value


def _around_prompt(prompt: Any, before: Sequence[str], behind: Sequence[str]) -> Any:
    if isinstance(prompt, str):
        return BETWEEN.join([*before, prompt, *behind])
    if isinstance(prompt, list) and all(isinstance(item, str) for item in prompt):
        return [BETWEEN.join([*before, item, *behind]) for item in prompt]
    raise RefusedError(
        "prompt: expected a text, or an array of texts, since the gateway puts a system prompt around it"
    )


def _around_system(system: Any, before: Sequence[str], behind: Sequence[str]) -> Any:
    if system is None or system == "":
        return BETWEEN.join([*before, *behind])
    if isinstance(system, str):
        return BETWEEN.join([*before, system, *behind])
    if isinstance(system, list):
        blocks = [[{"type": "text", "text": text} for text in texts] for texts in (before, behind)]
        return [*blocks[0], *system, *blocks[1]]
    raise RefusedError("system: expected a text, or an array of blocks")


def _put_into_response(document: Json, before: Sequence[str], behind: Sequence[str]) -> None:
    """Before: into the instructions. Behind: as the last message, since instructions stand before the input."""
    if before:
        instructions = document.get("instructions")
        if not isinstance(instructions, str | None):
            raise RefusedError("instructions: expected a text")
        document["instructions"] = BETWEEN.join([*before, *([instructions] if instructions else [])])
    if behind:
        content = document.get("input")
        items = [{"role": "user", "content": content}] if isinstance(content, str) else content
        if not isinstance(items, list | None):
            raise RefusedError("input: expected a text, or an array of items")
        document["input"] = [*(items or []), *map(_system, behind)]


def _put_into_gemini(document: Json, before: Sequence[str], behind: Sequence[str]) -> None:
    if "contents" not in document:  # embeddings have no system prompt
        return
    name = "system_instruction" if "system_instruction" in document else "systemInstruction"
    instruction = document.get(name)
    parts = instruction.get("parts") if isinstance(instruction, dict) else []
    if not isinstance(instruction, dict | None) or not isinstance(parts, list | dict):
        raise RefusedError(f"{name}: expected an object with parts")
    all_parts = parts if isinstance(parts, list) else [parts]
    added = [[{"text": text} for text in texts] for texts in (before, behind)]
    document[name] = {**(instruction or {}), "parts": [*added[0], *all_parts, *added[1]]}
