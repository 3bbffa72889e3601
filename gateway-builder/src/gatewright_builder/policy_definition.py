"""policy-definition.yaml: what a policy says of itself, checked as strictly as the gateway will hold it to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from gatewright.access import ENTRY, access_mistakes
from gatewright.definition import PREPARE_TIMEOUT, PREPARE_TIMEOUT_PATTERN, PolicyDefinition, definition_digest

from gatewright_builder.document import Document, KeyPath, read_document
from gatewright_builder.mistake import BuildError, Mistake, refuse_if_any
from gatewright_builder.schema import DIALECT, SchemaError, schema_errors
from gatewright_builder.strict import decode, describe, shown

DEFINITION_FILE = "policy-definition.yaml"
NAME_PATTERN = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"
VERSION_PATTERN = r"^v(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)$"
JSON_TYPES = "one or a list of array, boolean, integer, null, number, object, string"
SCHEMA_FIELDS = ("parameters", "systemParameters")

PolicyName = Annotated[
    str,
    describe("a policy name: lower-case letters, digits and single dashes", "write one like add-headers", NAME_PATTERN),
]
PolicyVersion = Annotated[str, describe("a version vX.Y.Z", "write one like v1.0.0", VERSION_PATTERN)]
Runtime = Annotated[Literal["python", "go"], describe("python or go", "write runtime: python or runtime: go")]
HeaderMode = Annotated[Literal["SKIP", "PROCESS"], describe("SKIP or PROCESS", "write PROCESS to be called for it")]
BodyMode = Annotated[
    Literal["SKIP", "BUFFER"],
    describe("SKIP or BUFFER (STREAM is not supported yet)", "write BUFFER to be given the whole body"),
]
PrepareTimeout = Annotated[str, describe("a time from 1s to 300s", "write one like 30s", PREPARE_TIMEOUT_PATTERN)]
Files = Annotated[object, describe("read and write, each with a list of paths", "write read: [/a/path] below it")]
Network = Annotated[object, describe(f"any, none, or a list of {ENTRY}", "write network: none")]
"""The two are looked into by gatewright.access."""
EncodedBodies = Annotated[
    Literal["REFUSE", "PASS"],
    describe("REFUSE or PASS", "write PASS for a policy that can read what has a content encoding"),
]
Text = Annotated[str, describe("a text", "put it in quotes")]
Schema = Annotated[dict[str, object], describe("a JSON Schema 2020-12 of an object", "write type: object")]


class ProcessingModeFields(msgspec.Struct, frozen=True, rename="camel"):
    """The keys of processingMode."""

    request_header_mode: HeaderMode = "SKIP"
    request_body_mode: BodyMode = "SKIP"
    response_header_mode: HeaderMode = "SKIP"
    response_body_mode: BodyMode = "SKIP"
    request_body_in_response: Annotated[
        bool, describe("true or false", "write true to be given the request's body in on_response too")
    ] = False
    encoded_bodies: EncodedBodies = "REFUSE"


Phases = Annotated[ProcessingModeFields, describe("its phases", "write requestHeaderMode: PROCESS below it")]


class DefinitionFields(msgspec.Struct, frozen=True, rename="camel"):
    """The keys of policy-definition.yaml."""

    name: PolicyName
    version: PolicyVersion
    runtime: Runtime
    processing_mode: Annotated[
        ProcessingModeFields, describe("the phases", "write requestHeaderMode: PROCESS below it")
    ]
    display_name: Text = ""
    description: Text = ""
    parameters: Schema = {}
    system_parameters: Schema = {}
    allow_continue: Annotated[bool, describe("true or false", "write false to forbid onError: continue")] = True
    prepare_timeout: PrepareTimeout = PREPARE_TIMEOUT
    files: Annotated[
        object, describe("read and write, each with a list of paths", "write read: [/a/path] below it")
    ] = {}
    network: Annotated[object, describe(f"any, none, or a list of {ENTRY}", "write network: none")] = "any"


@dataclass(frozen=True, slots=True)
class Definition:
    """A right definition: its fields, its content as the author wrote it, and the digest of that content."""

    fields: PolicyDefinition
    document: Document
    content: dict[str, object]
    text: bytes
    digest: str


def read_definition(folder: Path, shown: str) -> Definition:
    """Reads folder's definition; `shown` is the folder's name in mistakes. Raises BuildError with all of them."""
    path, name = folder / DEFINITION_FILE, f"{shown}/{DEFINITION_FILE}"
    if not path.is_file():
        raise BuildError([_no_definition(folder, shown, name)])
    document = read_document(path, name)
    checked = decode(DefinitionFields, document, document.value)
    mistakes = checked if isinstance(checked, list) else list(_body_in_response_mistakes(document, checked))
    content = document.value if isinstance(document.value, dict) else {}
    refuse_if_any([*mistakes, *_schema_mistakes(document, content), *_access_mistakes(document, content)])
    fields = PolicyDefinition.from_document(content)
    refuse_if_any(_mode_mistakes(document, fields))
    return Definition(fields, document, content, path.read_bytes(), definition_digest(content))


def _no_definition(folder: Path, shown: str, name: str) -> Mistake:
    if not folder.is_dir():
        return Mistake(shown, "a policy's folder", "no such folder", "mend filePath in build.yaml")
    return Mistake(name, "a policy's definition", "no such file", "write it: name, version, runtime, processingMode")


def _schema_mistakes(document: Document, content: dict[str, object]) -> Iterator[Mistake]:
    for field in SCHEMA_FIELDS:
        schema = content.get(field)
        if not isinstance(schema, dict):
            continue
        if schema.get("type", "object") != "object":
            cure = "write type: object"
            yield document.mistake((field, "type"), f"{field}.type: object", f"type: {schema['type']}", cure)
        if schema.get("$schema", DIALECT) != DIALECT:
            yield document.mistake((field, "$schema"), f"{field}: {DIALECT}", str(schema["$schema"]), "leave it out")
        for error in schema_errors(schema):
            yield _schema_mistake(document, (field, *error.path), error)


def _schema_mistake(document: Document, path: KeyPath, error: SchemaError) -> Mistake:
    expected, cure = JSON_TYPES if path[-1] == "type" else "a JSON Schema 2020-12", "mend the schema"
    if error.is_default:
        expected, cure = "a default that its own schema takes", "mend one of the two"
    return document.mistake(path, f"{'.'.join(map(str, path))}: {expected}", error.message, cure)


def _access_mistakes(document: Document, content: dict[str, object]) -> Iterator[Mistake]:
    for path, expected, got in access_mistakes(content):
        cure = "remove it" if content.get("runtime") == "go" else "mend it: docs/policies.md has an example"
        yield document.mistake(path, f"{'.'.join(map(str, path))}: {expected}", shown(got), cure)


def _body_in_response_mistakes(document: Document, fields: DefinitionFields) -> Iterator[Mistake]:
    mode, key = fields.processing_mode, "requestBodyInResponse"
    if not mode.request_body_in_response:
        return
    path = ("processingMode", key)
    if mode.request_body_mode != "BUFFER":
        expected = f"{key}: requestBodyMode: BUFFER beside it"
        got, cure = f"requestBodyMode: {mode.request_body_mode}", "write BUFFER, or remove it"
        yield document.mistake(path, expected, got, cure)
    if mode.response_header_mode == mode.response_body_mode == "SKIP":
        expected, cure = f"{key}: a response phase that is not SKIP", "write responseHeaderMode: PROCESS, or remove it"
        yield document.mistake(path, expected, "SKIP for both", cure)


def _mode_mistakes(document: Document, fields: PolicyDefinition) -> Iterator[Mistake]:
    mode = fields.processing_mode
    if not (mode.wants_request or mode.wants_response):
        cure = "write PROCESS or BUFFER for a phase that the policy is to be called in"
        yield document.mistake(("processingMode",), "a phase that is not SKIP", "none", cure)
