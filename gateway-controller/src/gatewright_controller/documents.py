"""Bytes to plain JSON values, from JSON or YAML, without the surprises: one key stands once, a date is text."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable

import yaml

from gatewright_controller.mistake import Invalid, Mistake, place
from gatewright_controller.model import JsonObject, JsonValue

MAX_NODES = 200_000
MAX_DEPTH = 100


def parse_json(body: bytes) -> JsonObject:
    """A JSON object. Raises `Invalid` for anything else, for a key that stands twice, and for NaN."""
    try:
        value = json.loads(body, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except RecursionError:
        raise _too_deep() from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Invalid([Mistake("", f"expected a JSON document: {error}")]) from None
    return _document(value)


def parse_yaml(body: bytes) -> JsonObject:
    """One YAML document that is a mapping. Aliases are followed, as far as the result stays small."""
    try:
        return _document(_construct(body))
    except RecursionError:
        raise _too_deep() from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        mistake = Mistake("", f"expected a YAML document: {_one_line(error)}", mark.line + 1 if mark else 0)
        raise Invalid([mistake]) from None


def yaml_lines(body: bytes) -> dict[str, int]:
    """The line of each field, as mistakes name it, of a document that `parse_yaml` reads; {} of any other."""
    found: dict[str, int] = {}
    try:
        node = yaml.compose(body, _Loader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        return found
    if node is not None:
        _note_lines(node, (), found)
    return found


def _note_lines(node: yaml.Node, path: tuple[str | int, ...], found: dict[str, int]) -> None:
    """Where a value stands, or its key if it has one. What an alias stands for is not looked into."""
    found.setdefault(place(path), node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _note_lines(item, (*path, index), found)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inside = (*path, str(key.value))
            if value.start_mark.index >= key.end_mark.index:  # an alias stands further up
                found[place(inside)] = key.start_mark.line + 1
                _note_lines(value, inside, found)


def _construct(body: bytes) -> JsonValue:
    loader = _Loader(body)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _measure(node, {}, 0)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).replace('"<byte string>"', "the body").split())


def _document(value: JsonValue) -> JsonObject:
    if not isinstance(value, dict):
        raise Invalid([Mistake("", "expected an object with apiVersion, kind, metadata and spec")])
    _refuse_unsayable(value, 0)
    return value


def _refuse_unsayable(value: JsonValue, depth: int) -> None:
    """What a parser lets through and JSON in UTF-8 cannot say."""
    if depth > MAX_DEPTH:
        raise _too_deep()
    match value:
        case dict():
            for key, item in value.items():
                _refuse_surrogates(key)
                _refuse_unsayable(item, depth + 1)
        case list():
            for item in value:
                _refuse_unsayable(item, depth + 1)
        case str():
            _refuse_surrogates(value)
        case float() if not math.isfinite(value):
            raise Invalid([Mistake("", f"expected numbers that JSON has, got {value}")])


def _refuse_surrogates(text: str) -> None:
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise Invalid([Mistake("", f"expected text in Unicode, got a lone surrogate in {text!r}")])


def _object(pairs: list[tuple[str, JsonValue]]) -> JsonObject:
    value = dict(pairs)
    if len(value) != len(pairs):
        keys = [key for key, _ in pairs]
        raise _twice(next(key for key in keys if keys.count(key) > 1))
    return value


def _refuse_constant(name: str) -> JsonValue:
    raise Invalid([Mistake("", f"expected numbers that JSON has, got {name}")])


def _twice(key: object, line: int = 0) -> Invalid:
    return Invalid([Mistake("", f"expected each key once in an object, got {key!r} twice", line)])


def _too_deep() -> Invalid:
    return Invalid([Mistake("", f"expected a document nested at most {MAX_DEPTH} deep")])


def _measure(node: yaml.Node, known: dict[int, int | None], depth: int) -> int:
    """The number of values that the node stands for with its aliases written out, which is what costs memory later."""
    if depth > MAX_DEPTH:
        raise _too_deep()
    if id(node) in known:
        size = known[id(node)]
        if size is None:
            raise Invalid([Mistake("", "expected a finite document, got an alias to a value that holds it")])
        return size
    known[id(node)] = None
    size = 1 + sum(_measure(child, known, depth + 1) for child in _children(node))
    if size > MAX_NODES:
        raise Invalid([Mistake("", f"expected at most {MAX_NODES} values, aliases written out")])
    known[id(node)] = size
    return size


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


class _Loader(yaml.CSafeLoader):
    """YAML's own types where JSON has them; booleans are `true` and `false`, a date is text, keys are text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, JsonValue]:
        keys = [key.value for key, _ in node.value]
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:str":
                said = f"expected keys that are text, got {key.value!r}; quote it"
                raise Invalid([Mistake("", said, key.start_mark.line + 1)])
        for index, (key, _) in enumerate(node.value):
            if key.value in keys[:index]:
                raise _twice(key.value, key.start_mark.line + 1)
        return super().construct_mapping(node, deep=deep)


def _is_json_type(tag: str, first: str) -> bool:
    if tag == "tag:yaml.org,2002:bool":
        return first in "tTfF"
    return tag not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:merge", "tag:yaml.org,2002:value")


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if _is_json_type(tag, first)]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
