"""Reads what authors write, build.yaml and policy-definition.yaml: what is wrong with it fails the build."""

from __future__ import annotations

from pathlib import Path

from gatewright_documents.document import Document, read_file
from gatewright_documents.mistake import Unreadable

from gatewright_builder.mistake import BuildError


def read_author_file(path: Path, name: str) -> Document:
    """A YAML file; `name` is what mistakes call it. Raises BuildError: no file, no YAML, not a value that JSON has."""
    try:
        return read_file(path, name)
    except Unreadable as unreadable:
        raise BuildError(unreadable.mistakes) from unreadable
