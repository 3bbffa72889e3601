"""The file of a plan: the documents that it was made of, and the plan. Since it may hold secrets, it is its user's."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec
from gatewright_documents.json_reader import parse_json
from gatewright_documents.mistake import Invalid
from gatewright_documents.secret_masks import MASK
from gatewright_documents.yaml_reader import parse_yaml

from gatewright_cli.api_files import ApiFile
from gatewright_cli.clients.plans import Plan, ResourceSet
from gatewright_cli.commands.apis.secret_files import with_values, without_values
from gatewright_cli.mistakes import PreflightError, refuse

VALUES_IN_CLEAR = (
    "expected no value of a Secret in a file that is kept, since it would stand there in clear: plan without -o, "
    "name files with valuesFromFiles, or write the values by `gatewright secret set` and ******** in the document"
)
FORMAT: Literal["gatewright.dev/plan/v1"] = "gatewright.dev/plan/v1"


class PlanFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """resources: what is applied. plan: what that changes."""

    format: Literal["gatewright.dev/plan/v1"]
    resources: ResourceSet
    plan: Plan


def write_plan(path: Path, resources: ResourceSet, plan: Plan) -> None:
    """The file is whole, or stays what it was; values from files stay in their files. Raises PreflightError."""
    resources = msgspec.structs.replace(resources, sources=without_values(resources.sources))
    content = msgspec.json.format(msgspec.json.encode(PlanFile(FORMAT, resources, plan))) + b"\n"
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        scratch.replace(path)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise PreflightError([f"{path}: {error.strerror}: name another file with -o"]) from error


def refuse_values(documents: Iterable[ApiFile]) -> None:
    """Raises PreflightError for Secrets with values in clear, since the file has the documents in it."""
    refuse([f"{document.path}: {VALUES_IN_CLEAR}" for document in documents if _has_values(document)])


def _has_values(document: ApiFile) -> bool:
    parse = parse_json if document.path.suffix == ".json" else parse_yaml
    try:
        found = parse(document.content, "a resource")
    except Invalid:
        return False  # the controller says what is wrong with it
    spec = found.get("spec")
    values = spec.get("values") if isinstance(spec, dict) else None
    return found.get("kind") == "Secret" and isinstance(values, dict) and any(text != MASK for text in values.values())


def read_plan(path: Path) -> PlanFile:
    """With the values that are in the files now. Raises PreflightError."""
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=PlanFile)
    except OSError as error:
        raise PreflightError([f"{path}: {error.strerror}: name a file of `gatewright plan -o`"]) from error
    except msgspec.DecodeError as error:
        raise PreflightError([f"{path}: expected a file of `gatewright plan -o`, got another ({error})"]) from None
    resources = msgspec.structs.replace(kept.resources, sources=with_values(kept.resources.sources))
    return msgspec.structs.replace(kept, resources=resources)
