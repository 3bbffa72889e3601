"""Fills in Envoy's bootstrap template."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from string import Template

IN_CHECKOUT = Path("gateway-runtime") / "envoy" / "bootstrap.yaml"
VARIABLE = "GATEWRIGHT_BOOTSTRAP"


class BootstrapError(Exception):
    """The template is not there or asks for what we do not have: where, and the cure."""


def find(chosen: Path | None = None) -> Path:
    """The template: the chosen one, or what GATEWRIGHT_BOOTSTRAP names, or the checkout's. Raises BootstrapError."""
    named = chosen or os.environ.get(VARIABLE)
    path = Path(named) if named else Path(__file__).resolve().parents[3] / IN_CHECKOUT
    if not path.is_file():
        raise BootstrapError(f"Envoy's bootstrap template is not at {path}: name it with --bootstrap or {VARIABLE}")
    return path


def render(template: Path, fields: Mapping[str, str]) -> str:
    """The template with `$field` filled in; values must not end the YAML string they stand in."""
    text = Template(template.read_text())
    if unknown := sorted(set(text.get_identifiers()) - set(fields)):
        raise BootstrapError(
            f"{template}: unknown fields ${', $'.join(unknown)}; known are ${', $'.join(sorted(fields))}"
        )
    if unsafe := [name for name, value in fields.items() if set(value) & set('"\\\n')]:
        raise BootstrapError(
            f"{template}: {unsafe[0]} must have no quote, backslash or line end: {fields[unsafe[0]]!r}"
        )
    return text.substitute(fields)
