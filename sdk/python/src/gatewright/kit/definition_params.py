"""Parameters of a test, checked against the definition's schema and with its defaults, like those of an API.

The SDK has no reader of YAML or JSON Schema. A test that needs this has the gateway's packages installed, and its
parameters are read by the code that publishes APIs.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatewright.secrets import Secret

DEFINITION_FILE = "policy-definition.yaml"


def params_of_definition(folder: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """The `params` of a policy whose attachment has these values. ValueError: the schema refuses them; it names each
    mistake."""
    try:
        document = importlib.import_module("gatewright_documents.document")
        schema = importlib.import_module("gatewright_documents.schema")
    except ImportError as error:
        raise ImportError(
            f"testing.params(policy, …) reads {DEFINITION_FILE} by the gateway's packages, and {error.name} is "
            f"not installed: install gatewright beside the tests, or leave the policy out"
        ) from error
    definition = document.read_file(folder / DEFINITION_FILE, DEFINITION_FILE).value
    parameters = schema.Schema(definition.get("parameters"))
    filled = parameters.with_defaults(_as_written(values))
    if mistakes := [str(mistake) for mistake in parameters.parameter_mistakes(filled, "params")]:
        raise ValueError("\n".join(mistakes))
    params: dict[str, Any] = _with_secrets(filled, values)
    return params


def _as_written(value: Any) -> Any:
    """The value as an API writes it: a secret as its name or its text."""
    if isinstance(value, Secret):
        return {"secretRef": value.name} if value.name else value.reveal()
    if isinstance(value, Mapping):
        return {key: _as_written(member) for key, member in value.items()}
    return [_as_written(item) for item in value] if isinstance(value, list | tuple) else value


def _with_secrets(filled: Any, values: Any) -> Any:
    """The filled parameters, with the secrets of `values` at their places."""
    if isinstance(values, Secret):
        return values
    if isinstance(filled, dict) and isinstance(values, Mapping):
        return {key: _with_secrets(member, values.get(key)) for key, member in filled.items()}
    if isinstance(filled, list) and isinstance(values, list | tuple):
        return [_with_secrets(item, value) for item, value in zip(filled, values, strict=True)]
    return filled
