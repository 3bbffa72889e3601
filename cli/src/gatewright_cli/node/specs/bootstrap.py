"""Fills in Envoy's bootstrap template."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from string import Template

VARIABLE = "GATEWRIGHT_BOOTSTRAP"
GATEWAYS_OWN = frozenset(
    {"host", "port", "access_log", "access_log_sample", "underscored_headers", "request_headers_timeout"}
)
"""Fields of older templates, which had the listener in them."""
CURE = (
    "write `lds_config: {ads: {}, resource_api_version: V3, initial_fetch_timeout: 0s}` below `dynamic_resources`,"
    " and what the gateway listens on into gateway.yaml"
)


class BootstrapError(Exception):
    """The template is missing, or has unknown fields. The message says where, and the cure."""


def find(chosen: Path | None = None) -> Path:
    """The template: the chosen one, or that of GATEWRIGHT_BOOTSTRAP, or the one that ships. Raises BootstrapError."""
    named = chosen or os.environ.get(VARIABLE)
    path = Path(named) if named else _shipped_template()
    if not path.is_file():
        raise BootstrapError(f"Envoy's bootstrap template is not at {path}: name it with --bootstrap or {VARIABLE}")
    return path


def _shipped_template() -> Path:
    try:
        from gatewright_builder.sources import find_sources
    except ImportError:  # an image has no builder, and names its template
        text = f"there is no template for Envoy's bootstrap: name it with --bootstrap or {VARIABLE}"
        raise BootstrapError(text) from None
    return find_sources().bootstrap


def render(template: Path, fields: Mapping[str, str]) -> str:
    """The template with `$field` filled in. Raises BootstrapError for values that would end their YAML string."""
    text = Template(template.read_text())
    if unknown := sorted(set(text.get_identifiers()) - set(fields)):
        moved = GATEWAYS_OWN.intersection(unknown)
        raise BootstrapError(
            f"{template}: unknown fields ${', $'.join(unknown)}; known are ${', $'.join(sorted(fields))}"
            + (f": listeners are no part of the bootstrap any more, {CURE}" if moved else "")
        )
    if unsafe := [name for name, value in fields.items() if set(value) & set('"\\\n')]:
        raise BootstrapError(
            f"{template}: {unsafe[0]} must have no quote, backslash or line end: {fields[unsafe[0]]!r}"
        )
    if "lds_config" not in text.template:
        raise BootstrapError(f"{template}: expected lds_config below dynamic_resources, got none: {CURE}")
    return text.substitute(fields)
