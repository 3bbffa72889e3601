"""YAML to plain JSON values, without the surprises: one key stands once, no date or tag passes for text.

It ends in bounded time and memory, whatever the bytes are: with a document, or with `Unreadable`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import yaml

from gatewright_documents.budget import MAX_KEY, MAX_NUMBER, MAX_VALUES, Budget, line_of, long_key, long_number
from gatewright_documents.line_tree import LineTree
from gatewright_documents.mistake import Invalid, Mistake, Unreadable, shown
from gatewright_documents.values import JsonObject, JsonValue

TAG = "tag:yaml.org,2002:"
TEXT, MERGE, TIMESTAMP, BOOLEAN = TAG + "str", TAG + "merge", TAG + "timestamp", TAG + "bool"
SCALARS = {
    TAG + "null": yaml.SafeLoader.construct_yaml_null,
    TAG + "bool": yaml.SafeLoader.construct_yaml_bool,
    TAG + "int": yaml.SafeLoader.construct_yaml_int,
    TAG + "float": yaml.SafeLoader.construct_yaml_float,
}
DIRECTIVE = re.compile("(?:^|[\r\n\x85\u2028\u2029])%")
MAX_DIRECTIVES = 10


@dataclass(frozen=True)
class Dialect:
    """What a plain scalar stands for, by its first character: tags, and the patterns of their texts.

    merges: whether the key `<<` merges. text_keys: keys are the text that is written, whatever it looks like.
    """

    implicit: Mapping[str, list[tuple[str, re.Pattern[str]]]]
    merges: bool = False
    text_keys: bool = False

    def tag_of(self, text: str) -> str:
        """The tag of a plain scalar; that of text where no pattern matches."""
        for tag, pattern in self.implicit.get(text[:1], ()):
            if pattern.match(text):
                return tag
        return TEXT


def _dialect(tags: tuple[str, ...], booleans: str, *, text_keys: bool = False) -> Dialect:
    """booleans: the first characters of the texts that stand for one."""
    implicit = {}
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items():
        known = [(tag, pattern) for tag, pattern in resolvers if tag in tags]
        implicit[first] = [(tag, pattern) for tag, pattern in known if tag != BOOLEAN or first in booleans]
    return Dialect(implicit, MERGE in tags, text_keys)


JSON_TYPES = _dialect(tuple(SCALARS), "tTfF")
"""The types of JSON: `true` and `false` are booleans, `yes` and a date are text, `<<` is a key like others."""
YAML_1_1 = _dialect((*SCALARS, MERGE, TIMESTAMP), "yYnNtTfFoO")
"""What policies' definitions have been written in from the start: `yes` is true, `<<` merges, a date is refused."""
OPENAPI = _dialect((*SCALARS, MERGE), "tTfF", text_keys=True)
"""As OpenAPI documents are written: the types of JSON, `200:` is a key like `"200":`, and `<<` merges."""


def read_yaml(body: bytes, dialect: Dialect = JSON_TYPES) -> JsonValue:
    """One YAML document; None of an empty one. Aliases are followed, as far as the result stays small.

    Raises `Unreadable`, with the line.
    """
    return read_located_yaml(body, dialect, located=False)[0]


def parse_yaml(body: bytes, expected: str = "an object") -> JsonObject:
    """One YAML document that is a mapping. `expected`: what it should be, in words. Raises `Unreadable`."""
    return as_object(read_yaml(body), expected)


def read_located_yaml(
    body: bytes, dialect: Dialect = JSON_TYPES, *, located: bool = True, most_values: int = MAX_VALUES
) -> tuple[JsonValue, LineTree]:
    """As `read_yaml`, and where everything stands; without `located` only where the document begins.

    most_values: that the document may have.
    """
    try:
        return _Reader(body, dialect, located, most_values).read()
    except Invalid as invalid:
        raise Unreadable(invalid.mistakes) from None


def as_object(value: JsonValue, expected: str) -> JsonObject:
    """The value, if it is an object. Raises `Unreadable`."""
    if not isinstance(value, dict):
        raise Unreadable([Mistake.expecting(expected, line=1)])
    return value


def not_utf8(error: UnicodeDecodeError) -> Mistake:
    """The mistake of bytes that are no UTF-8, with their line."""
    line = error.object[: error.start].count(b"\n") + 1
    return Mistake.expecting("text in UTF-8", f"a byte {error.object[error.start]:#04x}", "save it as UTF-8", line=line)


def _events(body: bytes, most_values: int) -> Iterator[yaml.Event]:
    """What a YAML document consists of, as far as the budget goes. Raises `Invalid`."""
    budget = Budget(len(body), most_values)
    try:
        text = body.decode()
        if len(DIRECTIVE.findall(text)) > MAX_DIRECTIVES:  # libyaml holds each against all before
            expected = f"at most {MAX_DIRECTIVES} lines that begin with %"
            raise Invalid([Mistake.expecting(expected, cure="take the others out")])
        parser = yaml.CSafeLoader(text)  # its `get_event` in the place of `yaml.parse`, which asks for each event twice
        while (event := parser.get_event()) is not None:
            budget.count(event)
            yield event
    except yaml.MarkedYAMLError as error:
        line = min(error.problem_mark.line, body.count(b"\n")) + 1 if error.problem_mark else 0
        problem = ": ".join(part for part in (error.context, error.problem) if part)
        raise Invalid([_not_yaml(problem, line)]) from None
    except yaml.reader.ReaderError as error:
        raise Invalid([_not_yaml(error.reason, text[: error.position].count("\n") + 1)]) from None
    except UnicodeDecodeError as error:
        raise Invalid([not_utf8(error)]) from None


def _not_yaml(problem: str, line: int) -> Mistake:
    return Mistake.expecting(f"a YAML document: {problem}", cure="fix the syntax", line=line)


class _Merge:
    """Stands where the key `<<` has been read."""


MERGE_KEY = _Merge()


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come.

    key: in a mapping, the one whose value is to come. merged: what `<<` names, with its lines, as its event began it.
    """

    value: dict[str, JsonValue] | list[JsonValue]
    lines: LineTree
    key: str | _Merge | None = None
    key_line: int = 0
    merged: tuple[JsonValue, LineTree, yaml.NodeEvent] | None = None


class _Reader:
    """From events to a value. `located`: whether to remember where everything is."""

    def __init__(self, body: bytes, dialect: Dialect, located: bool, most_values: int) -> None:
        self._body, self._dialect, self._located, self._most_values = body, dialect, located, most_values
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[JsonValue, LineTree]] = {}
        self._constructor = yaml.constructor.SafeConstructor()
        self._root: JsonValue = None
        self._lines = LineTree(1)
        self._documents = 0

    def read(self) -> tuple[JsonValue, LineTree]:
        """The document, None of an empty one, and its lines. Raises `Invalid`."""
        for event in _events(self._body, self._most_values):
            match event:
                case yaml.ScalarEvent():
                    self._add_anchored(self._scalar(event), event)
                case yaml.AliasEvent():
                    value, lines = self._anchors[event.anchor or ""]
                    self._add(value, event, lines)
                case yaml.CollectionStartEvent():
                    self._open_collection(event)
                case yaml.CollectionEndEvent():
                    self._close_collection()
                case yaml.DocumentStartEvent():
                    self._documents += 1
                    if self._documents > 1:
                        raise _mistake(
                            event, "a YAML document: one", "another one behind it", "make it a file of its own"
                        )
        return self._root, self._lines

    def _add_anchored(self, value: JsonValue, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> LineTree:
        lines = self._add(value, event)
        if event.anchor is not None:
            self._anchors[event.anchor] = value, lines
        return lines

    def _open_collection(self, event: yaml.CollectionStartEvent) -> None:
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        if event.tag not in (None, "!", TAG + ("map" if is_mapping else "seq")):
            raise _wrong_tag(event, event.tag)
        value: dict[str, JsonValue] | list[JsonValue] = {} if is_mapping else []
        self._open.append(_Open(value, self._add_anchored(value, event)))

    def _close_collection(self) -> None:
        """What was merged comes before a mapping's own keys, which win; of several, the first does."""
        ended = self._open.pop()
        if ended.merged and isinstance(ended.value, dict):
            own, inside = dict(ended.value), dict(ended.lines.inside)
            ended.value.clear()
            for value, lines in reversed(_mappings(*ended.merged)):
                ended.value.update(value)
                ended.lines.inside.update(lines.inside)
            ended.value.update(own)
            ended.lines.inside.update(inside)

    def _add(self, value: JsonValue, event: yaml.NodeEvent, known: LineTree | None = None) -> LineTree:
        """Puts a value, or a key, where it belongs; answers its lines. known: those of an alias's value."""
        if value is MERGE_KEY and not self._expects_key():
            raise _misplaced_merge_key(event)
        if not self._open:
            self._root, self._lines.line = value, line_of(event)
            return self._lines
        around = self._open[-1]
        if isinstance(around.value, list):
            around.value.append(value)
            return self._located_below(around, len(around.value) - 1, line_of(event), known)
        if around.key is None:
            if value is MERGE_KEY and around.merged:
                raise _mistake(event, "each key once in an object", "'<<' twice", "write a list behind one of them")
            around.key, around.key_line = _key(value, around.value, event), line_of(event)
            return around.lines if event.anchor is None else LineTree(around.key_line)
        key, around.key = around.key, None
        if isinstance(key, _Merge):
            around.merged = value, known or LineTree(line_of(event)), event
            return around.merged[1]
        around.value[key] = value
        return self._located_below(around, key, around.key_line, known)

    def _located_below(self, around: _Open, step: str | int, line: int, known: LineTree | None) -> LineTree:
        if not self._located:
            return around.lines
        lines = around.lines.inside[step] = LineTree(line, known.inside if known else {})
        return lines

    def _scalar(self, event: yaml.ScalarEvent) -> JsonValue:
        text: str = event.value
        tag = event.tag
        if tag is None:
            tag = self._dialect.tag_of(text) if event.implicit[0] else TEXT
        if tag == MERGE and self._dialect.merges:
            return MERGE_KEY
        if tag in (TEXT, "!") or (self._dialect.text_keys and self._expects_key()):
            return text
        if tag == TIMESTAMP and event.tag is None:
            raise _mistake(event, "a value that JSON has", f"{shown(text)}, a date", "put it in quotes")
        if tag not in SCALARS:
            raise _wrong_tag(event, tag)
        return self._construct(tag, text, event)

    def _expects_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1].value, dict) and self._open[-1].key is None

    def _construct(self, tag: str, text: str, event: yaml.ScalarEvent) -> JsonValue:
        if len(text) > MAX_NUMBER:
            raise Invalid([long_number(line_of(event))])
        try:
            value: JsonValue = SCALARS[tag](self._constructor, yaml.ScalarNode(tag, text))
        except (ValueError, LookupError):
            kind = tag.removeprefix(TAG)
            raise _mistake(event, f"a value of YAML's type {kind}", shown(text), "put it in quotes") from None
        if isinstance(value, float) and not math.isfinite(value):
            raise _mistake(event, "numbers that JSON has", str(value), "put it in quotes")
        return value


def _key(key: JsonValue, beside: JsonObject, event: yaml.NodeEvent) -> str | _Merge:
    if isinstance(key, _Merge):
        return key
    if not isinstance(key, str):
        written = event.value if isinstance(event, yaml.ScalarEvent) else key
        raise _mistake(event, "keys that are text", shown(written), "quote it")
    if key in beside:
        raise _mistake(event, "each key once in an object", f"{shown(key)} twice", "remove one of the two")
    if len(key) > MAX_KEY:
        raise Invalid([long_key(key, line_of(event))])
    return key


def _mappings(value: JsonValue, lines: LineTree, event: yaml.NodeEvent) -> list[tuple[JsonObject, LineTree]]:
    """What `<<` names: a mapping, or several in a list."""
    mappings = [(value, lines)]
    if isinstance(value, list):
        mappings = [(item, lines.inside.get(index, lines)) for index, item in enumerate(value)]
    if not all(isinstance(mapping, dict) for mapping, _ in mappings):
        raise _mistake(event, "a mapping, or a list of mappings, behind '<<'", shown(value), "write its keys out")
    return mappings


def _mistake(event: yaml.Event, expected: str, got: str, cure: str) -> Invalid:
    return Invalid([Mistake.expecting(expected, got, cure, line=line_of(event))])


def _misplaced_merge_key(event: yaml.NodeEvent) -> Invalid:
    if isinstance(event, yaml.ScalarEvent) and event.tag is not None:
        return _wrong_tag(event, event.tag)
    return _mistake(event, "'<<' as a key", "it as a value", "quote it")


def _wrong_tag(event: yaml.Event, tag: str) -> Invalid:
    return _mistake(event, "no tag but those of JSON's types", shown(tag.replace(TAG, "!!", 1)), "take it out")
