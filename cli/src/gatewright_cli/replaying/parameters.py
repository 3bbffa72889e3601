"""The parameters that a policy is replayed with. Recordings hold none, since parameters may hold secrets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from gatewright_documents.document import read_document
from gatewright_documents.mistake import Unreadable, format_path
from gatewright_documents.schema import Schema
from gatewright_documents.schema_defaults import with_defaults
from gatewright_documents.secret_references import references
from gatewright_documents.values import JsonObject, JsonValue, KeyPath
from gatewright_documents.yaml_reader import YAML_1_1

from gatewright_cli.exchanges.recorded import Exchange
from gatewright_cli.mistakes import PreflightError, refuse
from gatewright_cli.replaying.candidate import Candidate
from gatewright_cli.replaying.inputs import Input

PARAMS = "params"


class Parameters:
    """The parameters of a policy's attachments: the same for all, or those of an Api.

    Methods raise PreflightError for parameters that the policy's definition refuses.
    """

    def __init__(
        self, params: JsonObject | None = None, api: JsonObject | None = None, system: JsonObject | None = None
    ) -> None:
        self._params, self._api, self._system = params, api, system or {}

    def of_operator(self, candidate: Candidate) -> JsonObject:
        """The policy's system parameters, with defaults."""
        return complete(candidate, self._system, "--system-params", "systemParameters")

    def of(self, candidate: Candidate, exchange: Exchange) -> list[JsonObject]:
        """For each attachment of the policy in the exchange's chain, in its order, with defaults."""
        if self._api is None or _name(self._api) != exchange.api:
            return [complete(candidate, self._params or {}, "--params")]
        attachments = _attachments(self._api, exchange.operation)
        own = [attachment for attachment in attachments if attachment.get("name") == candidate.name]
        if not own:
            return [complete(candidate, self._params or {}, "--params")]
        where = f"--api, {exchange.api}"
        return [complete(candidate, self._params or attachment.get(PARAMS) or {}, where) for attachment in own]

    def with_paths(self, recorded: Input) -> Input:
        """The exchange, with paths read by the `strictPaths` of the Api: recordings of former releases lack it."""
        if self._api is None or _name(self._api) != recorded.exchange.api:
            return recorded
        spec = self._api.get("spec")
        is_loose = isinstance(spec, dict) and spec.get("strictPaths") is False
        return replace(recorded, document={**recorded.document, "loosePaths": True}) if is_loose else recorded


def complete(candidate: Candidate, params: JsonObject, where: str, member: str = "parameters") -> JsonObject:
    """The parameters with defaults. Raises PreflightError if the schema in the definition's `member` refuses them."""
    schema: Any = candidate.definition.get(member) or {}
    filled: Any = with_defaults(params, schema, schema)
    compiled = Schema(schema)
    mistakes = compiled.parameter_mistakes(filled, f"{PARAMS} of {candidate.key}")
    cure = "" if where != "--params" else " (recordings hold no parameters: set --params or --api)"
    refuse([f"{where}: {mistake}{cure}" for mistake in mistakes])
    marked: Any = compiled.for_nodes(filled)
    refuse([f"{where}: {_unresolved_secret(path, candidate)}" for path in references(marked)])
    return marked  # type: ignore[no-any-return]


def _unresolved_secret(path: KeyPath, candidate: Candidate) -> str:
    field = format_path(path, f"{PARAMS} of {candidate.key}")
    return f"{field}: expected the secret itself, got its name: a replay has no node's secrets; set it with --params"


def _name(api: JsonObject) -> str:
    metadata = api.get("metadata")
    return str(metadata.get("name", "")) if isinstance(metadata, dict) else ""


def _attachments(api: JsonObject, operation: str) -> list[JsonObject]:
    """The API's attachments, then the operation's, in the order of a chain."""
    spec: Any = api.get("spec") or {}
    attachments = [*(spec.get("policies") or [])]
    route = operation.partition(" [")[0]
    for item in spec.get("operations") or []:
        if f"{item.get('method')} {item.get('path')}" == route:
            attachments += item.get("policies") or []
            break
    return [attachment for attachment in attachments if isinstance(attachment, dict)]


def read_params(text: str, option: str = "--params") -> JsonObject:
    """A JSON object, or a file of JSON or YAML that has one. Raises PreflightError."""
    if text.lstrip().startswith("{"):
        return _object(text.encode(), option)
    return _object(_content(Path(text), option), text)


def read_api(file: Path) -> JsonObject:
    """An Api document. Raises PreflightError."""
    document = _object(_content(file, "--api"), str(file))
    if document.get("kind") != "Api":
        raise PreflightError([f"{file}: kind: expected Api, got {document.get('kind')!r}"])
    return document


def _content(file: Path, option: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise PreflightError([f"{option}: {file}: expected a file: {error.strerror}"]) from error


def _object(content: bytes, shown: str) -> JsonObject:
    try:
        value: JsonValue = read_document(content, shown, YAML_1_1).value
    except Unreadable as error:
        raise PreflightError([str(mistake) for mistake in error.mistakes]) from error
    if not isinstance(value, dict):
        raise PreflightError([f"{shown}: expected an object, got {type(value).__name__}"])
    return value
