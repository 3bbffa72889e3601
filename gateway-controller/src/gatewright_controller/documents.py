"""Bytes to plain JSON values, from JSON or YAML, without the surprises: one key stands once, a date is text."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable

import yaml

from gatewright_controller.mistake import Invalid, Mistake
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
        raise Invalid([Mistake("", f"expected a YAML document: {_one_line(error)}")]) from None


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


def _twice(key: object) -> Invalid:
    return Invalid([Mistake("", f"expected each key once in an object, got {key!r} twice")])


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
                where = f"line {key.start_mark.line + 1}"
                raise Invalid([Mistake("", f"expected keys that are text, got {key.value!r} in {where}; quote it")])
        if len(set(keys)) != len(keys):
            raise _twice(next(key for key in keys if keys.count(key) > 1))
        return super().construct_mapping(node, deep=deep)


def _is_json_type(tag: str, first: str) -> bool:
    if tag == "tag:yaml.org,2002:bool":
        return first in "tTfF"
    return tag not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:merge", "tag:yaml.org,2002:value")


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if _is_json_type(tag, first)]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
