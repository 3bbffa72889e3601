"""The policies that APIs can attach, and what other definitions of them mean."""

from __future__ import annotations

from typing import Annotated, Any

from gatewright.definition import Runtime
from gatewright_documents.strict import expecting
from msgspec import UNSET, Meta, UnsetType

from gatewright_controller.management.shapes.answer import Answered
from gatewright_controller.management.shapes.apis import MovedPolicy, State
from gatewright_controller.model import Strict

Line = Annotated[int, Meta(ge=1, extra_json_schema=expecting("the number of a line, from 1"))]


class ProcessingMode(Answered, frozen=True):
    """What a policy sees of an exchange."""

    request_header_mode: str
    request_body_mode: str
    response_header_mode: str
    response_body_mode: str


class Policy(Answered, frozen=True):
    """A policy of the build."""

    name: str
    version: str
    display_name: str
    description: str
    runtime: Runtime
    processing_mode: ProcessingMode
    allow_continue: bool
    """Whether attachments may have `onError: continue`."""
    parameters: dict[str, Any]
    """JSON Schema of `params`."""
    definition_digest: str
    """SHA-256 of its definition, which nodes compare."""


class PolicyList(Answered, frozen=True):
    """Policies, by name and version."""

    policies: list[Policy]
    next: str | UnsetType = UNSET
    """The path of the next page, if there is one."""


class Source(Strict, frozen=True):
    """The document of an API."""

    file: str
    """Its name in mistakes; JSON if it ends in `.json`, else YAML."""
    text: str
    line: Line = 1
    """Of the file, in which the text begins: the lines of mistakes are counted from it."""


class Definitions(Strict, frozen=True):
    """Definitions of policies, and APIs that come with them."""

    definitions: dict[str, str]
    """By the names of their files, their texts."""
    apis: list[Source] | UnsetType = UNSET
    """In the place of the stored APIs of their names."""


class Reload(Strict, frozen=True):
    """APIs that are written together with new definitions."""

    apis: list[Source] | UnsetType = UNSET


class AffectedApi(Answered, frozen=True):
    """An API that other definitions concern, and what has become of it."""

    name: str
    state: State
    reason: str


class PolicyImpact(Answered, frozen=True):
    """What other definitions mean. Policies are NAME:VERSION."""

    added: list[str]
    removed: list[str]
    changed: list[str]
    """They have another content."""
    moved: list[MovedPolicy]
    """Attachments that get another version."""
    apis: list[AffectedApi]
