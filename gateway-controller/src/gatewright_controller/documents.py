"""Bytes to plain JSON values, from JSON or YAML, without the surprises: one key stands once, a date is text.

Both end in bounded time and memory, whatever the bytes are: with a document, or with `Unreadable`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import yaml

from gatewright_controller.budget import MAX_DEPTH, MAX_KEY, MAX_VALUES, Budget, line_of, too_deep, too_many_values
from gatewright_controller.mistake import Invalid, Mistake, Unreadable, place, shown
from gatewright_controller.model import JsonObject, JsonValue
from gatewright_controller.places import Place

MAX_NUMBER = 100
"""Characters of a number: more than any that a policy could compute with, and few enough to be read at once."""
LARGEST = 10**MAX_NUMBER
TAG = "tag:yaml.org,2002:"
TEXT = TAG + "str"
SCALARS = {
    TAG + "null": yaml.SafeLoader.construct_yaml_null,
    TAG + "bool": yaml.SafeLoader.construct_yaml_bool,
    TAG + "int": yaml.SafeLoader.construct_yaml_int,
    TAG + "float": yaml.SafeLoader.construct_yaml_float,
}
SURROGATES = re.compile("[\ud800-\udfff]")
DIRECTIVE = re.compile("(?:^|[\r\n\x85\u2028\u2029])%")
MAX_DIRECTIVES = 10
SURROGATE = re.compile(rb"(?:\\u[dD][89a-fA-F][0-9a-fA-F]{2})+")


def parse_json(body: bytes) -> JsonObject:
    """A JSON object. Raises `Unreadable` for anything else, for a key that stands twice, and for NaN."""
    try:
        value = json.loads(body, object_pairs_hook=_object)
        _Sayable().check(value, 0)
        return _document(value)
    except RecursionError:
        raise Unreadable(too_deep().mistakes) from None
    except json.JSONDecodeError as error:
        raise Unreadable([Mistake("", f"expected a JSON document: {error}", error.lineno)]) from None
    except UnicodeDecodeError as error:
        raise Unreadable([_not_utf8(error)]) from None
    except Unreadable:
        raise
    except Invalid as invalid:
        raise _located(invalid, body) from None
    except ValueError:  # of int(), which takes 4300 digits
        raise _located(Invalid([_long_number(0)]), body) from None


def parse_yaml(body: bytes) -> JsonObject:
    """One YAML document that is a mapping. Raises `Unreadable`, with the line."""
    return _document(read_yaml(body))


def read_yaml(body: bytes) -> JsonValue:
    """One YAML document; None of an empty one. Aliases are followed, as far as the result stays small.

    Raises `Unreadable`, with the line.
    """
    try:
        return _Reader(body).read()
    except Invalid as invalid:
        raise Unreadable(invalid.mistakes) from None


def load_yaml(body: bytes) -> JsonValue:
    """One YAML document as PyYAML's safe loader has it, merge keys and `yes` for true included, if JSON can say it.

    Raises `Unreadable`.
    """
    try:
        for _ in events(body):  # what the budget lets pass can be built
            pass
        value = yaml.load(body.decode(), Loader=_SafeLoader)  # noqa: S506 - it is a CSafeLoader
        _Sayable().check(value, 0)
    except Invalid as invalid:
        raise Unreadable(invalid.mistakes) from None
    except yaml.MarkedYAMLError as error:
        raise Unreadable([_not_yaml(error, body)]) from None
    except (ValueError, LookupError, TypeError, AttributeError) as error:  # of what makes a value of a text
        raise Unreadable([Mistake("", f"expected a YAML document: {type(error).__name__}: {error}")]) from None
    return value


def places(body: bytes) -> Place:
    """Where the fields stand of a document that one of these has read."""
    reader = _Reader(SURROGATE.sub(_as_itself, body), located=True)  # escaped in halves they are JSON and no YAML
    try:
        reader.read()
    except Invalid:
        return Place(0)
    return reader.place


def _as_itself(escaped: re.Match[bytes]) -> bytes:
    text: str = json.loads(b'"' + escaped[0] + b'"')
    return text.encode("utf-8", "replace")


def events(body: bytes) -> Iterator[yaml.Event]:
    """What a YAML document consists of, as far as the budget goes. Raises `Invalid`."""
    budget = Budget(len(body))
    try:
        text = body.decode()
        if len(DIRECTIVE.findall(text)) > MAX_DIRECTIVES:  # each is held against all before
            raise Invalid([Mistake("", f"expected at most {MAX_DIRECTIVES} lines that begin with %")])
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            budget.take(event)
            yield event
    except yaml.MarkedYAMLError as error:
        raise Invalid([_not_yaml(error, body)]) from None
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise Invalid([Mistake("", f"expected a YAML document: {error.reason}", line)]) from None
    except UnicodeDecodeError as error:
        raise Invalid([_not_utf8(error)]) from None


class _SafeLoader(yaml.CSafeLoader):
    """Reads no numbers that take long to read."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> JsonValue:
        if isinstance(node, yaml.ScalarNode) and node.tag != TEXT and len(node.value) > MAX_NUMBER:
            raise Invalid([_long_number(node.start_mark.line + 1 if node.start_mark else 0)])
        return super().construct_object(node, deep=deep)


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come. `key`: in a mapping, the key whose value is to come."""

    value: dict[str, JsonValue] | list[JsonValue]
    place: Place
    key: str | None = None
    key_line: int = 0


class _Reader:
    """YAML's own types where JSON has them; booleans are `true` and `false`, a date is text, keys are text."""

    def __init__(self, body: bytes, *, located: bool = False) -> None:
        """`located`: `place` is then where everything is."""
        self._body, self._located = body, located
        self._open: list[_Open] = []
        self._anchors: dict[str, JsonValue] = {}
        self._constructor = yaml.constructor.SafeConstructor()
        self._root: JsonValue = None
        self._documents = 0
        self.place = Place(1)

    def read(self) -> JsonValue:
        """The document; None of an empty one. Raises `Invalid`."""
        for event in events(self._body):
            match event:
                case yaml.ScalarEvent():
                    self._take_scalar(event)
                case yaml.AliasEvent():
                    self._put(self._anchors[event.anchor or ""], event)
                case yaml.CollectionStartEvent():
                    self._begin(event)
                case yaml.CollectionEndEvent():
                    self._open.pop()
                case yaml.DocumentStartEvent():
                    self._documents += 1
                    if self._documents > 1:
                        raise _mistake(event, "expected a YAML document: one, got another one behind it")
        return self._root

    def _take_scalar(self, event: yaml.ScalarEvent) -> None:
        value = self._scalar(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = value
        self._put(value, event)

    def _begin(self, event: yaml.CollectionStartEvent) -> None:
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        if event.tag not in (None, "!", TAG + ("map" if is_mapping else "seq")):
            raise _mistake(event, f"expected no tag but those of JSON's types, got {shown(_short(event.tag))}")
        value: dict[str, JsonValue] | list[JsonValue] = {} if is_mapping else []
        if event.anchor is not None:
            self._anchors[event.anchor] = value
        self._open.append(_Open(value, self._put(value, event)))

    def _put(self, value: JsonValue, event: yaml.NodeEvent) -> Place:
        """A value, or a key, where it belongs; its place. What is in an alias has none."""
        if not self._open:
            self._root, self.place.line = value, line_of(event)
            return self.place
        around = self._open[-1]
        if isinstance(around.value, list):
            around.value.append(value)
            return self._placed(around, len(around.value) - 1, line_of(event))
        if around.key is None:
            around.key, around.key_line = _key(value, around.value, event), line_of(event)
            return around.place
        around.value[around.key] = value
        key, around.key = around.key, None
        return self._placed(around, key, around.key_line)

    def _placed(self, around: _Open, step: str | int, line: int) -> Place:
        if not self._located:
            return around.place
        place = around.place.inside[step] = Place(line)
        return place

    def _scalar(self, event: yaml.ScalarEvent) -> JsonValue:
        text: str = event.value
        tag = event.tag
        if tag is None:
            tag = _implicit(text) if event.implicit[0] else TEXT
        if tag in (TEXT, "!"):
            return text
        if tag not in SCALARS:
            raise _mistake(event, f"expected no tag but those of JSON's types, got {shown(_short(tag))}")
        if len(text) > MAX_NUMBER:
            raise Invalid([_long_number(line_of(event))])
        try:
            value: JsonValue = SCALARS[tag](self._constructor, yaml.ScalarNode(tag, text))
        except (ValueError, LookupError):
            kind = tag.removeprefix(TAG)
            raise _mistake(event, f"expected a value of YAML's type {kind}, got {shown(text)}") from None
        if isinstance(value, float) and not math.isfinite(value):
            raise _mistake(event, f"expected numbers that JSON has, got {value}")
        return value


def _key(key: JsonValue, beside: JsonObject, event: yaml.NodeEvent) -> str:
    if not isinstance(key, str):
        written = event.value if isinstance(event, yaml.ScalarEvent) else key
        raise _mistake(event, f"expected keys that are text, got {shown(written)}; quote it")
    if key in beside:
        raise _mistake(event, f"expected each key once in an object, got {shown(key)} twice")
    if len(key) > MAX_KEY:
        raise Invalid([_long_key(key, line_of(event))])
    return key


def _mistake(event: yaml.Event, said: str) -> Invalid:
    return Invalid([Mistake("", said, line_of(event))])


def _short(tag: str) -> str:
    """As people write it."""
    return tag.replace(TAG, "!!", 1)


def _implicit(text: str) -> str:
    """The tag of a plain scalar."""
    for tag, pattern in IMPLICIT.get(text[:1], ()):
        if pattern.match(text):
            return tag
    return TEXT


def _is_json_type(tag: str, first: str) -> bool:
    if tag == TAG + "bool":
        return first in "tTfF"
    return tag in SCALARS


IMPLICIT: dict[str, list[tuple[str, re.Pattern[str]]]] = {
    first: [(tag, pattern) for tag, pattern in resolvers if _is_json_type(tag, first)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _document(value: JsonValue) -> JsonObject:
    if not isinstance(value, dict):
        raise Unreadable([Mistake("", "expected an object with apiVersion, kind, metadata and spec", 1)])
    return value


def _located(invalid: Invalid, body: bytes) -> Unreadable:
    """With the lines that JSON's parser does not tell: nearly all JSON is YAML, whose reader finds the same mistake, or
    the field in which it is.
    """
    try:
        _Reader(body).read()
    except Invalid as found:
        lines = {mistake.message: mistake.line for mistake in found.mistakes}
        if all(mistake.message in lines for mistake in invalid.mistakes):
            return Unreadable([replace(one, line=lines[one.message]) for one in invalid.mistakes])
    return Unreadable(invalid.at(places(body).line_of).mistakes)


class _Sayable:
    """What a parser lets through and JSON in UTF-8 cannot say, or what is too much of it."""

    def __init__(self) -> None:
        self._values = 0
        self._path: list[str | int] = []

    def check(self, value: JsonValue, depth: int) -> None:
        """Raises `Invalid`, with the field."""
        self._values += 1
        if self._values > MAX_VALUES:
            raise too_many_values()
        match value:
            case dict() | list():
                self._check_inside(value, depth)
            case str() if not value.isascii() and SURROGATES.search(value):
                raise self._wrong(f"expected text in Unicode, got a lone surrogate in {shown(value)}")
            case float() if not math.isfinite(value):
                raise self._wrong(f"expected numbers that JSON has, got {value}")
            case int() if not -LARGEST < value < LARGEST:
                raise Invalid([_long_number(0)])
            case None | str() | bool() | int() | float():
                pass
            case _:
                raise self._wrong(f"expected a value that JSON has, got {shown(value)}; quote it")

    def _check_inside(self, value: JsonObject | list[JsonValue], depth: int) -> None:
        if depth >= MAX_DEPTH:
            raise too_deep()
        for step, item in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(value, dict):
                self._check_key(step, depth)
            self._path.append(step)
            self.check(item, depth + 1)
            self._path.pop()

    def _check_key(self, key: JsonValue, depth: int) -> None:
        if not isinstance(key, str):
            raise self._wrong(f"expected keys that are text, got {shown(key)}; quote it")
        self.check(key, depth)
        if len(key) > MAX_KEY:
            raise Invalid([_long_key(key, 0)])

    def _wrong(self, said: str) -> Invalid:
        return Invalid([Mistake(place(self._path), said)])


def _long_key(key: str, line: int) -> Mistake:
    return Mistake("", f"expected keys of at most {MAX_KEY} characters, got {shown(key)}", line)


def _object(pairs: list[tuple[str, JsonValue]]) -> JsonObject:
    if len(pairs) > MAX_VALUES:
        raise too_many_values()
    value = dict(pairs)
    if len(value) != len(pairs):
        seen = set[str]()
        for key, _ in pairs:
            if key in seen:
                raise Invalid([Mistake("", f"expected each key once in an object, got {shown(key)} twice")])
            seen.add(key)
    return value


def _not_yaml(error: yaml.MarkedYAMLError, body: bytes) -> Mistake:
    line = min(error.problem_mark.line, body.count(b"\n")) + 1 if error.problem_mark else 0
    said = ": ".join(part for part in (error.context, error.problem) if part)
    return Mistake("", f"expected a YAML document: {said}", line)


def _long_number(line: int) -> Mistake:
    return Mistake("", f"expected numbers of at most {MAX_NUMBER} digits", line)


def _not_utf8(error: UnicodeDecodeError) -> Mistake:
    line = error.object[: error.start].count(b"\n") + 1
    return Mistake("", f"expected text in UTF-8, got a byte {error.object[error.start]:#04x}", line)
