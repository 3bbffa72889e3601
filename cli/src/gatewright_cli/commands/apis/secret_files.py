"""Files that Secrets take values from: the command line reads them, and their contents go beside the documents."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from gatewright_documents.json_reader import parse_json
from gatewright_documents.mistake import Invalid
from gatewright_documents.yaml_reader import parse_yaml

from gatewright_cli.clients.plans import SourceText
from gatewright_cli.commands.value_files import file_text
from gatewright_cli.mistakes import refuse

FIELD = "valuesFromFiles"


def with_values(sources: Iterable[SourceText]) -> tuple[SourceText, ...]:
    """The documents with what is in the files that they name, from the folder of each. Raises PreflightError with all
    mistakes, which show no value."""
    filled: list[SourceText] = []
    mistakes: list[str] = []
    for source in sources:
        values: dict[str, str] = {}
        for key, name in _files_of(source).items():
            content, mistake = file_text(Path(source.file).parent / name)
            values[key] = content
            mistakes += [f"{source.file}: spec.{FIELD}.{key}: {mistake}"] if mistake else []
        filled.append(msgspec.structs.replace(source, values=values))
    refuse(mistakes)
    return tuple(filled)


def without_values(sources: Iterable[SourceText]) -> tuple[SourceText, ...]:
    """The documents alone, for a file that is kept."""
    return tuple(msgspec.structs.replace(source, values={}) for source in sources)


def _files_of(source: SourceText) -> dict[str, str]:
    """By key; none where the controller is to say what is wrong."""
    if FIELD not in source.text:
        return {}
    parse = parse_json if source.file.endswith(".json") else parse_yaml
    try:
        document: dict[str, Any] = parse(source.text.encode(), "a resource")
    except Invalid:
        return {}
    spec = document.get("spec")
    files = spec.get(FIELD) if isinstance(spec, dict) and document.get("kind") == "Secret" else None
    named = files.items() if isinstance(files, dict) else ()
    return {key: name for key, name in named if isinstance(name, str) and name}
