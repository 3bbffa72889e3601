"""The calls of tools in a model's answer: names and arguments, of the events of a stream or of a whole answer.

`gatewright.llm` reads the pieces of arguments, for policies that filter texts; people want them beside the name, which
stands in another event.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator
from typing import Any

Json = dict[str, Any]
_BLOCKS = {"tool_use", "server_tool_use", "mcp_tool_use"}


class ToolCalls:
    """Collects the calls of one answer, in the order in which they begin."""

    def __init__(self) -> None:
        self._names: dict[Hashable, str] = {}
        self._arguments: dict[Hashable, str] = {}

    def pairs(self) -> list[tuple[str, str]]:
        """Each call's name and arguments."""
        return [(self._names[key], self._arguments[key]) for key in self._names]

    def read(self, document: Any) -> None:
        """Reads an event, or a whole answer."""
        if not isinstance(document, dict):
            return
        for choice in _objects(document.get("choices")):
            self._read_choice(choice)
        self._read_blocks(document)
        self._read_items(document)
        for at, candidate in enumerate(_objects(document.get("candidates"))):
            for part in _objects(_object(candidate.get("content")).get("parts")):
                call = _object(part.get("functionCall"))
                if call:  # a call comes in one event
                    self._add(("candidate", at, len(self._names)), call.get("name"), call.get("args"))

    def _read_choice(self, choice: Json) -> None:
        for holder in (_object(choice.get("delta")), _object(choice.get("message"))):
            for number, call in enumerate(_objects(holder.get("tool_calls"))):
                function = _object(call.get("function"))
                key = ("choice", _key(choice.get("index")), _key(call.get("index", number)))
                self._add(key, function.get("name"), function.get("arguments"))

    def _read_blocks(self, document: Json) -> None:
        """Of messages."""
        at = ("block", _key(document.get("index")))
        block = _object(document.get("content_block"))
        if block.get("type") in _BLOCKS:
            self._add(at, block.get("name"), block.get("input") or "")
        piece = _object(document.get("delta")).get("partial_json")
        if isinstance(piece, str):
            self._add(at, None, piece)
        for number, item in enumerate(_objects(document.get("content"))):
            if item.get("type") in _BLOCKS:
                self._add(("block", number), item.get("name"), item.get("input"))

    def _read_items(self, document: Json) -> None:
        """Of responses, whose last events repeat the calls: what was read before is replaced."""
        kind = str(document.get("type"))
        at = ("item", _key(document.get("output_index")))
        if kind.endswith("_arguments.delta") and isinstance(document.get("delta"), str):
            self._add(at, None, document["delta"])
        elif kind in ("response.output_item.added", "response.output_item.done"):
            self._set_item(at, _object(document.get("item")))
        holder = _object(document.get("response")) or document
        for number, item in enumerate(_objects(holder.get("output"))):
            self._set_item(("item", number), item)

    def _set_item(self, key: Hashable, item: Json) -> None:
        if str(item.get("type")).endswith("_call"):
            self._arguments.pop(key, None)
            self._add(key, item.get("name") or item.get("type"), item.get("arguments"))

    def _add(self, key: Hashable, name: Any, arguments: Any) -> None:
        if isinstance(name, str) and name:
            self._names[key] = name
        self._names.setdefault(key, "")
        text = arguments if isinstance(arguments, str) else "" if arguments is None else _json(arguments)
        self._arguments[key] = self._arguments.get(key, "") + text


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _key(value: Any) -> Hashable:
    return value if isinstance(value, int | str) else 0


def _object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> Iterator[Json]:
    return (item for item in (value if isinstance(value, list) else ()) if isinstance(item, dict))
