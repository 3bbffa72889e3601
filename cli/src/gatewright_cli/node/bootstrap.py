"""Fills in Envoy's bootstrap template."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from gatewright_documents.mistake import Invalid
from gatewright_documents.yaml_reader import YAML_1_1, read_yaml

from gatewright_cli.supervision import forked

VARIABLE = "GATEWRIGHT_BOOTSTRAP"
OUR_PORT = -1  # none that a template would name itself


class BootstrapError(Exception):
    """The template is not there or asks for what we do not have: where, and the cure."""


def find(chosen: Path | None = None) -> Path:
    """The template: the chosen one, or that of GATEWRIGHT_BOOTSTRAP, or the one that ships. Raises BootstrapError."""
    named = chosen or os.environ.get(VARIABLE)
    path = Path(named) if named else _shipped()
    if not path.is_file():
        raise BootstrapError(f"Envoy's bootstrap template is not at {path}: name it with --bootstrap or {VARIABLE}")
    return path


def speaks_tls(template: Path) -> bool:
    """Whether a listener of the template speaks TLS on `$port`. False where the template is none: render says so."""
    text = Template(template.read_text())
    if "transport_socket" not in text.template:
        return False
    try:
        filled = text.safe_substitute(dict.fromkeys(text.get_identifiers(), "") | {"port": OUR_PORT})
        document = read_yaml(filled.encode(), YAML_1_1)
        return any(_speaks_tls(listener) for listener in document["static_resources"]["listeners"])
    except (Invalid, KeyError, TypeError):
        return False


def _speaks_tls(listener: dict[str, Any]) -> bool:
    takes_requests = listener["address"]["socket_address"]["port_value"] == OUR_PORT
    return takes_requests and any("transport_socket" in chain for chain in listener["filter_chains"])


def _shipped() -> Path:
    found = forked.in_child(_shipped_with_the_builder)  # which a supervisor would else hold for as long as it runs
    if not found:
        raise BootstrapError(f"there is no template for Envoy's bootstrap: name it with --bootstrap or {VARIABLE}")
    return Path(found)


def _shipped_with_the_builder() -> str:
    try:
        from gatewright_builder.sources import find_sources
    except ImportError:  # an image has no builder, and names the template
        return ""
    return str(find_sources().bootstrap)


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
