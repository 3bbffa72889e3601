"""An OpenAPI document as it was read: its values, their lines, and the targets of its references."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from urllib.parse import unquote

from gatewright_documents.json_reader import line_tree, parse_json
from gatewright_documents.line_tree import LineTree
from gatewright_documents.mistake import Invalid, Mistake, Unreadable, format_path, shown
from gatewright_documents.values import JsonObject, JsonValue, KeyPath
from gatewright_documents.yaml_reader import OPENAPI, as_object, read_located_yaml
from gatewright_documents.yaml_writer import UNPRINTABLE

MAX_BYTES = 64 * 1024 * 1024
MAX_VALUES = 5_000_000
"""A document is its author's own, and read once; the largest published ones have a tenth of this."""
MOST_REFERENCES = 32
VERSION = re.compile(r"3\.[01](\.[0-9]+)?(-.*)?")
EXPECTED = "an OpenAPI document of version 3.0 or 3.1"
NAME_VERSION = "name the version in `openapi`, the document's first key, or in `_format_version` of a decK file"


@dataclass(frozen=True, order=True)
class Note:
    """What the author of a document should know about its import. line: in the document, from 1; 0 for the whole."""

    line: int
    message: str


@dataclass(frozen=True)
class Located:
    """A value and its path, behind its references."""

    value: JsonValue
    path: KeyPath


@dataclass(frozen=True)
class Source:
    """A document. file: its name in mistakes and notes. mistakes, notes: those found so far."""

    file: str
    body: bytes
    value: JsonObject
    read_lines: LineTree | None = None
    mistakes: list[Mistake] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    @cached_property
    def lines(self) -> LineTree:
        """Lines by path. Those of JSON are computed on first use: its parser reports none."""
        return self.read_lines or line_tree(self.body, MAX_VALUES)

    def line(self, path: KeyPath) -> int:
        """The line of the value at path, or of the nearest value around it; from 1."""
        return self.lines.line_at(path)

    def wrong(self, path: KeyPath, expected: str, got: str = "", cure: str = "") -> None:
        """Adds a mistake at path."""
        field, line = format_path(path), self.line(path)
        self.mistakes.append(Mistake.expecting(expected, got, cure, field=field, line=line, file=self.file))

    def note(self, path: KeyPath, message: str) -> None:
        """Adds a note on the value at path."""
        self.notes.append(Note(self.line(path), one_line(message)))

    def check(self) -> None:
        """Raises `Invalid` with all mistakes so far, if there are any."""
        if self.mistakes:
            raise Invalid(self.mistakes)

    def object_at(self, *path: str | int) -> JsonObject:
        """The object at path; empty if there is none. Another kind of value is a mistake."""
        value = self.at(path)
        if value is None or isinstance(value, dict):
            return value or {}
        self.wrong(path, "an object", shown(value), "fix it")
        return {}

    def at(self, path: KeyPath) -> JsonValue:
        """The value at path; None for none."""
        value: JsonValue = self.value
        for step in path:
            if isinstance(value, dict):
                value = value.get(str(step))
            elif isinstance(value, list) and str(step).isdecimal() and int(step) < len(value):
                value = value[int(step)]
            else:
                return None
        return value

    def resolve(self, value: JsonValue, path: KeyPath) -> Located | None:
        """The target of the value's `$ref`, if it has one, merged with the members beside `$ref`; None if there is no
        such target, which is a mistake.
        """
        beside: JsonObject = {}
        for _ in range(MOST_REFERENCES):
            if not isinstance(value, dict) or "$ref" not in value:
                return Located(value | beside if isinstance(value, dict) else value, path)
            beside = {key: item for key, item in value.items() if key != "$ref"} | beside
            target = self._target(value["$ref"], path)
            if target is None:
                return None
            value, path = self.at(target), target
        self.wrong(path, f"at most {MOST_REFERENCES} references one behind the other", "more, or a circle", "fix them")
        return None

    def _target(self, reference: JsonValue, path: KeyPath) -> KeyPath | None:
        where = (*path, "$ref")
        if not isinstance(reference, str) or not reference.startswith("#/"):
            cure = "bundle the document into one file first, for example with `redocly bundle`"
            self.wrong(where, "a reference into this document, '#/…'", shown(reference), cure)
            return None
        steps = tuple(unquote(step).replace("~1", "/").replace("~0", "~") for step in reference[2:].split("/"))
        if self.at(steps) is None:
            self.wrong(where, "a reference to something in this document", shown(reference), "correct its name")
            return None
        return steps


def one_line(text: str) -> str:
    """The text on one line, without characters that a terminal or a YAML parser would interpret."""
    return " ".join(UNPRINTABLE.sub(" ", text).split())


def read(body: bytes, file: str) -> Source:
    """The document, JSON or YAML; its name is `file` in mistakes.

    Raises `Invalid` for anything but OpenAPI 3.0 or 3.1, and for more than MAX_BYTES or MAX_VALUES.
    """
    if len(body) > MAX_BYTES:
        expected, got = f"a file of at most {MAX_BYTES // 1024**2} MiB", f"{len(body):,} bytes"
        raise Unreadable(
            [Mistake.in_file(file, expected, got, "remove parts that the gateway does not need: the schemas")]
        )
    try:
        source = _parse(body, file)
    except Unreadable as unreadable:
        raise Unreadable([replace(mistake, file=file) for mistake in unreadable.mistakes]) from None
    _check_version(source)
    source.check()
    return source


def _parse(body: bytes, file: str) -> Source:
    if body.lstrip().startswith(b"{"):
        try:
            return Source(file, body, parse_json(body, EXPECTED, MAX_VALUES))
        except Unreadable:
            if file.endswith(".json"):
                raise  # else it may be YAML that begins with a brace
    value, lines = read_located_yaml(body, OPENAPI, most_values=MAX_VALUES)
    return Source(file, body, as_object(value, EXPECTED), lines)


def _check_version(source: Source) -> None:
    version, older = source.value.get("openapi"), source.value.get("swagger")
    if version is None and older is not None:
        cure = "convert it first, for example with `swagger2openapi` or https://converter.swagger.io"
        source.wrong(("swagger",), EXPECTED, f"Swagger {older}", cure)
    elif not VERSION.fullmatch(str(version)):
        cure = "convert it first" if version else NAME_VERSION
        source.wrong(("openapi",), EXPECTED, "nothing" if version is None else shown(version), cure)
