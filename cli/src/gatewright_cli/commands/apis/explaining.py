"""What an API is with the Defaults that fit it, as text: each policy and setting, and where it was written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gatewright_cli.commands.columns import cell_text, lines_in_columns

Effective = dict[str, Any]
"""The controller's answer to GET /v1/apis/NAME/effective."""


def explain_api(api: Effective) -> Iterator[str]:
    """The lines."""
    status, name = api["status"], api["metadata"]["name"]
    known = ", ".join(status["defaults"])
    yield f"{name} runs with the Defaults {known}, in this order" if known else f"{name} runs without Defaults"
    if status["policies"]:
        yield ""
        yield from lines_in_columns([["POLICY", "RUNS FOR", "FROM"], *map(list, map(_policy, _located(api)))])
    if status["settings"]:
        yield ""
        yield from lines_in_columns([["SETTING", "VALUE", "FROM"], *map(_setting, status["settings"])])


def _located(api: Effective) -> Iterator[tuple[dict[str, Any], str]]:
    """Each policy with the operation that it runs for."""
    operations = api["spec"]["operations"]
    for policy in api["status"]["policies"]:
        start, _, rest = policy["field"].partition("spec.operations[")
        if start or not rest:
            yield policy, "every operation"
        else:
            operation = operations[int(rest.partition("]")[0])]
            yield policy, f"{operation['method']} {operation['path']}"


def _policy(located: tuple[dict[str, Any], str]) -> tuple[str, ...]:
    policy, operation = located
    return f"{policy['name']} {policy['version']}", operation, f"{_source(policy)}: {policy['writtenAt']}"


def _setting(setting: dict[str, Any]) -> list[str]:
    words = f"{_source(setting)}, enforced" if setting["enforced"] else _source(setting)
    if "overruled" in setting:
        words += f": the API's {_text(setting['overruled'])} does not count"
    return [setting["name"], _text(setting["value"]), words]


def _source(part: dict[str, Any]) -> str:
    return f"Defaults {part['defaults']}" if "defaults" in part else "the API"


def _text(value: object) -> str:
    return cell_text(str(value).lower() if isinstance(value, bool) else value)
