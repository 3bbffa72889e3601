"""Parameters of a test as an API would have them: held to the definition's schema, with its defaults.

The SDK brings no reader of YAML and JSON Schema along. A test that asks for this runs beside the gateway's packages,
and has its parameters read by what publishes APIs.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatewright.secrets import Secret

DEFINITION_FILE = "policy-definition.yaml"


def params_of_definition(folder: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """What a policy is given where an API has these values. ValueError: no API may have them, with each mistake."""
    try:
        document = importlib.import_module("gatewright_documents.document")
        schema = importlib.import_module("gatewright_documents.schema")
    except ImportError as error:
        raise ImportError(
            f"testing.params(policy, …) reads {DEFINITION_FILE} by the gateway's own packages, and there is no "
            f"{error.name}: install gatewright beside the tests, or leave the policy out"
        ) from error
    definition = document.read_file(folder / DEFINITION_FILE, DEFINITION_FILE).value
    parameters = schema.Schema(definition.get("parameters"))
    filled = parameters.with_defaults(_as_written(values))
    if mistakes := [str(mistake) for mistake in parameters.parameter_mistakes(filled, "params")]:
        raise ValueError("\n".join(mistakes))
    given: dict[str, Any] = _with_secrets(filled, values)
    return given


def _as_written(value: Any) -> Any:
    """As an API has it: a secret by its name, or its text."""
    if isinstance(value, Secret):
        return {"secretRef": value.name} if value.name else value.reveal()
    if isinstance(value, Mapping):
        return {key: _as_written(member) for key, member in value.items()}
    return [_as_written(item) for item in value] if isinstance(value, list | tuple) else value


def _with_secrets(filled: Any, values: Any) -> Any:
    """What was filled, with the secrets that stand in `values`."""
    if isinstance(values, Secret):
        return values
    if isinstance(filled, dict) and isinstance(values, Mapping):
        return {key: _with_secrets(member, values.get(key)) for key, member in filled.items()}
    if isinstance(filled, list) and isinstance(values, list | tuple):
        return [_with_secrets(item, value) for item, value in zip(filled, values, strict=True)]
    return filled
