"""A YAML file that an author has written: its value, and the line of everything in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from gatewright_documents.line_tree import LineTree
from gatewright_documents.mistake import Mistake, Unreadable, format_path
from gatewright_documents.values import JsonValue, KeyPath
from gatewright_documents.yaml_reader import YAML_1_1, Dialect, read_located_yaml

MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file. file: its name in mistakes. text: what is in it. value: None of an empty one."""

    file: str
    text: bytes
    value: JsonValue
    lines: LineTree

    def line(self, *path: str | int) -> int:
        """The line of what stands at path, or of the nearest thing around it; from 1."""
        return self.lines.line_at(path)

    def mistake(self, path: KeyPath, expected: str, got: str, cure: str) -> Mistake:
        """A mistake at path."""
        return Mistake.expecting(expected, got, cure, field=format_path(path), line=self.line(*path), file=self.file)

    def located(self, mistake: Mistake) -> Mistake:
        """The mistake with this file, and the line of its field where it has none."""
        return replace(mistake, file=self.file, line=mistake.line or self.lines.line_of(mistake.field))


def read_file(path: Path, shown: str, dialect: Dialect = YAML_1_1) -> Document:
    """Reads a YAML file of at most 4 MiB. shown: its name in mistakes.

    Raises Unreadable: no file, no YAML, not a value that JSON has, more than the budget allows.
    """
    try:
        body = path.read_bytes()
    except OSError as error:
        got = (error.strerror or str(error)).lower()
        raise Unreadable([Mistake.in_file(shown, "a file", got, "check the path")]) from error
    return read_document(body, shown, dialect)


def read_document(body: bytes, shown: str, dialect: Dialect = YAML_1_1) -> Document:
    """As `read_file`, of what is in the file."""
    if len(body) > MAX_BYTES:
        expected, got = f"a file of at most {MAX_BYTES // 1024**2} MiB", f"{len(body):,} bytes"
        raise Unreadable([Mistake.in_file(shown, expected, got, "make it smaller")])
    try:
        value, lines = read_located_yaml(body, dialect)
    except Unreadable as unreadable:
        raise Unreadable([replace(mistake, file=shown) for mistake in unreadable.mistakes]) from None
    return Document(shown, body, value, lines)
