"""`gatewright context list` and `show`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from gatewright_documents.secret_masks import MASK
from gatewright_documents.yaml_writer import yaml_text

from gatewright_cli.commands.controller_address import controller_address
from gatewright_cli.commands.options import NamedController
from gatewright_cli.commands.resources.kinds import Column, Resource
from gatewright_cli.commands.resources.output import json_text, table
from gatewright_cli.contexts import Contexts, contexts_file, read_contexts

COLUMNS = (
    Column("CURRENT", lambda context: "*" if context["current"] else ""),
    Column("NAME", lambda context: context["name"]),
    Column("URL", lambda context: context["url"]),
    Column("TOKEN", lambda context: _token(context)),
    Column("CA", lambda context: context.get("ca", ""), wide=True),
)


def render(output: str) -> str:
    """All contexts, in one of `output.FORMATS`. Raises PreflightError."""
    contexts = _listed(read_contexts(contexts_file()))
    match output:
        case "name":
            return "".join(f"{context['name']}\n" for context in contexts)
        case "json":
            return json_text(contexts)
        case "yaml":
            return yaml_text(contexts)
    return table(COLUMNS, contexts, wide=output == "wide")


def render_choice(run_dir: Path | None, controller: NamedController | None, *, as_json: bool) -> str:
    """The controller that is used with these options. Raises PreflightError."""
    address = controller_address(run_dir, controller)
    choice: dict[str, Any] = {"url": address.url, "chosenBy": address.chosen_by}
    choice |= {"context": address.context} if address.context else {}
    choice |= {"run": str(address.run_dir)} if address.run_dir else {}
    return json_text(choice) if as_json else yaml_text(choice)


def _listed(contexts: Contexts) -> list[Resource]:
    return [
        {"name": name, "current": name == contexts.current, **_masked(msgspec.to_builtins(context))}
        for name, context in contexts.contexts.items()
    ]


def _masked(context: Resource) -> Resource:
    return {key: MASK if key == "token" else value for key, value in context.items()}


def _token(context: Resource) -> str:
    return str(context.get("tokenFile") or context.get("token") or "none")
