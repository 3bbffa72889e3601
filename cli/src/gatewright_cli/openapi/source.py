"""An OpenAPI document as it was read: its values, the lines where they stand, and what its references name."""

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
"""A document is its author's own, and read once: the largest that are published have a tenth of it."""
MOST_REFERENCES = 32
VERSION = re.compile(r"3\.[01](\.[0-9]+)?(-.*)?")
EXPECTED = "an OpenAPI document of version 3.0 or 3.1"


@dataclass(frozen=True, order=True)
class Note:
    """What the author of a document should know of its import. line: of the document, from 1; 0 for the whole."""

    line: int
    message: str


@dataclass(frozen=True)
class Located:
    """A value, and where it stands: behind a reference, where that is."""

    value: JsonValue
    path: KeyPath


@dataclass(frozen=True)
class Source:
    """file: its name in mistakes and notes. mistakes, notes: what has been found so far."""

    file: str
    body: bytes
    value: JsonObject
    read_lines: LineTree | None = None
    mistakes: list[Mistake] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    @cached_property
    def lines(self) -> LineTree:
        """JSON's are looked for only where somebody asks: its parser tells none."""
        return self.read_lines or line_tree(self.body, MAX_VALUES)

    def line(self, path: KeyPath) -> int:
        """The line of what stands at path, or of the nearest thing around it; from 1."""
        return self.lines.line_at(path)

    def wrong(self, path: KeyPath, expected: str, got: str = "", cure: str = "") -> None:
        """There is a mistake at path."""
        field, line = format_path(path), self.line(path)
        self.mistakes.append(Mistake.expecting(expected, got, cure, field=field, line=line, file=self.file))

    def note(self, path: KeyPath, message: str) -> None:
        """There is something to know of what stands at path."""
        self.notes.append(Note(self.line(path), one_line(message)))

    def check(self) -> None:
        """Raises `Invalid` with all mistakes so far, if there are any."""
        if self.mistakes:
            raise Invalid(self.mistakes)

    def object_at(self, *path: str | int) -> JsonObject:
        """The object at path; empty where there is none, which is a mistake where there is something else."""
        found = self.at(path)
        if found is None or isinstance(found, dict):
            return found or {}
        self.wrong(path, "an object", shown(found), "mend it")
        return {}

    def at(self, path: KeyPath) -> JsonValue:
        """What stands at path; None where there is nothing."""
        found: JsonValue = self.value
        for step in path:
            if isinstance(found, dict):
                found = found.get(str(step))
            elif isinstance(found, list) and str(step).isdecimal() and int(step) < len(found):
                found = found[int(step)]
            else:
                return None
        return found

    def resolved(self, value: JsonValue, path: KeyPath) -> Located | None:
        """What stands behind `$ref`, if there is one, with what stands beside it; None where it leads nowhere, which
        is a mistake.
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
        self.wrong(path, f"at most {MOST_REFERENCES} references one behind the other", "more, or a circle", "mend them")
        return None

    def _target(self, reference: JsonValue, path: KeyPath) -> KeyPath | None:
        where = (*path, "$ref")
        if not isinstance(reference, str) or not reference.startswith("#/"):
            cure = "bundle the document into one file first, for example with `redocly bundle`"
            self.wrong(where, "a reference into this document, '#/…'", shown(reference), cure)
            return None
        steps = tuple(unquote(step).replace("~1", "/").replace("~0", "~") for step in reference[2:].split("/"))
        if self.at(steps) is None:
            self.wrong(where, "a reference to something in this document", shown(reference), "mend its name")
            return None
        return steps


def one_line(text: str) -> str:
    """The text without what a terminal or a reader of YAML would take for more than text."""
    return " ".join(UNPRINTABLE.sub(" ", text).split())


def read(body: bytes, file: str) -> Source:
    """The document, JSON or YAML; its name is `file` in mistakes.

    Raises `Invalid`: no document, or none of OpenAPI 3.0 or 3.1, or more than MAX_BYTES or MAX_VALUES.
    """
    if len(body) > MAX_BYTES:
        expected, got = f"a file of at most {MAX_BYTES // 1024**2} MiB", f"{len(body):,} bytes"
        raise Unreadable([Mistake.in_file(file, expected, got, "remove what the gateway does not need: the schemas")])
    try:
        source = _parsed(body, file)
    except Unreadable as unreadable:
        raise Unreadable([replace(one, file=file) for one in unreadable.mistakes]) from None
    _check_version(source)
    source.check()
    return source


def _parsed(body: bytes, file: str) -> Source:
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
        cure = "convert it first" if version else "name the version in `openapi`, the document's first key"
        source.wrong(("openapi",), EXPECTED, "nothing" if version is None else shown(version), cure)
