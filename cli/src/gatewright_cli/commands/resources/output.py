"""Resources as text: a table for people, JSON and YAML for programs, names for the next command."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

from gatewright_cli.commands.columns import cell_text, lines_in_columns
from gatewright_cli.commands.resources.kinds import Column, Resource

FORMATS = ("table", "wide", "json", "yaml", "name")
OUTPUT = click.option(
    "-o",
    "--output",
    "output",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="How they are shown.",
)


def table(columns: Sequence[Column], resources: Iterable[Resource], *, wide: bool = False) -> str:
    """A heading and a line for each resource, in columns."""
    shown = [column for column in columns if wide or not column.wide]
    rows = [[column.heading for column in shown]]
    rows += [[cell_text(column.cell(resource)) for column in shown] for resource in resources]
    return "".join(f"{line}\n" for line in lines_in_columns(rows))


def json_text(value: object) -> str:
    """The value as indented JSON."""
    return f"{json.dumps(value, indent=2, ensure_ascii=False)}\n"


def yaml_documents(documents: Iterable[Resource]) -> str:
    """The documents as one YAML file, which `gatewright apply` reads if they are of kinds that it takes."""
    return "---\n".join(map(_document_text, documents))


def _document_text(document: Resource) -> str:
    from gatewright_controller.resource.api_text import api_text
    from gatewright_documents.yaml_writer import yaml_text

    write: Callable[[Any], str] = api_text if document.get("kind") == "Api" else yaml_text
    return write(document)
