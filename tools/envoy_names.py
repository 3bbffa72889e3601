"""The constants of proto/envoy_names.yaml, in Python and in Go: names that controller and engine both say to Envoy."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "proto" / "envoy_names.yaml"
PYTHON = Path("gateway-controller/src/gatewright_controller/_gen/envoy_names.py")
GO = Path("gateway-runtime/policy-engine/gen/envoynames/envoynames.go")
INITIALISMS = {"id": "ID", "xds": "XDS"}
FIELDS = {"value", "writer", "reader"}
WIDTH = 120


class MistakeError(Exception):
    """What proto/envoy_names.yaml may not say."""


@dataclass(frozen=True)
class Name:
    """A name by its key in the file, such as `access_log_filter`."""

    key: str
    value: str
    writer: str
    reader: str

    @property
    def python(self) -> str:
        """The name of its constant in Python."""
        return self.key.upper()

    @property
    def go(self) -> str:
        """The name of its constant in Go."""
        return "".join(INITIALISMS.get(word, word.capitalize()) for word in self.key.split("_"))

    @property
    def doc(self) -> str:
        """What writes it and what reads it, for people."""
        return f"Written by {self.writer}. Read by {self.reader}."


def read_names(text: str) -> list[Name]:
    """The names of the file's text; raises MistakeError, which lists all mistakes."""
    entries = yaml.safe_load(text)
    mistakes = list(_mistakes(entries))
    if mistakes:
        raise MistakeError("\n".join(mistakes))
    return [Name(key, **fields) for key, fields in entries.items()]


def _mistakes(entries: Mapping[str, object]) -> Iterator[str]:
    for key, fields in entries.items():
        if not re.fullmatch(r"[a-z]+(_[a-z]+)*", key):
            yield f"{key}: expected words in lower case, with _ between them"
        if not isinstance(fields, dict) or set(fields) != FIELDS:
            yield f"{key}: expected the fields {', '.join(sorted(FIELDS))}"
            continue
        for field in sorted(FIELDS):
            if not isinstance(fields[field], str) or not re.fullmatch(r"[ -~]+", fields[field]):
                yield f"{key}.{field}: expected one line of text in ASCII, got {fields[field]!r}"
        if re.search(r'["\\]', str(fields["value"])):
            yield f"{key}.value: expected no quotation mark and no backslash, got {fields['value']!r}"


def python_module(names: list[Name]) -> str:
    """The controller's module."""
    parts = [
        '"""Names that Envoy is given. Generated from proto/envoy_names.yaml by tools/generate.py. Do not edit."""\n'
    ]
    for name in names:
        doc = textwrap.fill(f'"""{name.doc}"""', WIDTH)
        parts.append(f'{name.python} = "{name.value}"\n{doc}\n')
    return "\n".join(parts)


def go_file(names: list[Name]) -> str:
    """The engine's package."""
    parts = [
        "// Code generated from proto/envoy_names.yaml by tools/generate.py. DO NOT EDIT.\n",
        "// Package envoynames has the names that Envoy is given, which the controller has as well.",
        "package envoynames\n",
        "const (",
        "\n\n".join(f'{_comment(f"{name.go}: {_lowered(name.doc)}")}\n\t{name.go} = "{name.value}"' for name in names),
        ")\n",
    ]
    return "\n".join(parts)


def _comment(text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent="\t// ", subsequent_indent="\t// ")


def _lowered(text: str) -> str:
    return text[0].lower() + text[1:]


def write_constants(out: Path) -> None:
    """Writes both files under `out`, as they lie under the root."""
    names = read_names(SOURCE.read_text("utf-8"))
    for place, text in ((PYTHON, python_module(names)), (GO, go_file(names))):
        (out / place).parent.mkdir(parents=True, exist_ok=True)
        (out / place).write_text(text, "utf-8")
