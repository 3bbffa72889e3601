"""Fills in Envoy's bootstrap template."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

VARIABLE = "GATEWRIGHT_BOOTSTRAP"
EXTENSION = "engine_extension"
"""The field for the extension that loads the engine."""
OWN_EXTENSIONS = re.compile(r"^bootstrap_extensions:", re.MULTILINE)
MODULE_NAME = "gatewright"
"""Envoy loads libNAME.so from ENVOY_DYNAMIC_MODULES_SEARCH_PATH."""
TYPES = "type.googleapis.com"
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


def engine_extension(arguments: Sequence[str]) -> str:
    """The bootstrap extension that loads the engine into Envoy and starts it with these arguments."""
    extension = {
        "name": "envoy.bootstrap.dynamic_modules",
        "typed_config": {
            "@type": f"{TYPES}/envoy.extensions.bootstrap.dynamic_modules.v3.DynamicModuleBootstrapExtension",
            "dynamic_module_config": {"name": MODULE_NAME, "do_not_close": True},
            "extension_name": MODULE_NAME,
            "extension_config": {
                "@type": f"{TYPES}/google.protobuf.StringValue",
                "value": json.dumps([*arguments], ensure_ascii=False),
            },
        },
    }
    return json.dumps(extension, ensure_ascii=False)  # YAML reads it, but not the escapes of some characters


def render(template: Path, fields: Mapping[str, str], extension: str = "") -> str:
    """The template with `$field` filled in. Raises BootstrapError for values that would end their YAML string.

    extension: of the engine inside Envoy; "" for none. It is written below the template, or in the place of
    $engine_extension, which a template with extensions of its own needs.
    """
    text = Template(template.read_text())
    is_placed = EXTENSION in text.get_identifiers()
    if extension and not is_placed and OWN_EXTENSIONS.search(text.template):
        raise BootstrapError(
            f"{template}: expected ${EXTENSION} in bootstrap_extensions, by which Envoy loads the engine, got none:"
            f" write `bootstrap_extensions: [{{…}}, ${EXTENSION}]`, or run with --engine ext-proc"
        )
    if unknown := sorted(set(text.get_identifiers()) - set(fields) - {EXTENSION}):
        moved = GATEWAYS_OWN.intersection(unknown)
        raise BootstrapError(
            f"{template}: unknown fields ${', $'.join(unknown)}; known are ${', $'.join(sorted([*fields, EXTENSION]))}"
            + (f": listeners are no part of the bootstrap any more, {CURE}" if moved else "")
        )
    if unsafe := [name for name, value in fields.items() if set(value) & set('"\\\n')]:
        raise BootstrapError(
            f"{template}: {unsafe[0]} must have no quote, backslash or line end: {fields[unsafe[0]]!r}"
        )
    if "lds_config" not in text.template:
        raise BootstrapError(f"{template}: expected lds_config below dynamic_resources, got none: {CURE}")
    below = f"\nbootstrap_extensions: [{extension}]\n" if extension and not is_placed else ""
    return text.substitute({**fields, EXTENSION: extension}) + below
