"""The `Defaults` resource: policies and settings of all APIs that it fits, so that their documents need no copies."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec
from gatewright_documents.strict import expecting
from gatewright_documents.values import JsonObject
from msgspec import UNSET, Meta, UnsetType

from gatewright_controller.model.api import AccessLog, Metadata, Policies
from gatewright_controller.model.common import Labels, Strict, Timeout
from gatewright_controller.model.routing import Retries, Websocket

Setting = Literal[
    "requestTimeout",
    "idleTimeout",
    "streamTimeout",
    "retries",
    "websocket",
    "accessLog",
    "encodedResponses",
    "strictPaths",
    "mapUpstreamPaths",
]
"""What Defaults may say, beside policies: fields of an API's spec."""
SETTINGS: tuple[Setting, ...] = get_args(Setting)
SELECTION_FORM = {"x-cure": "its form is {labels: {team: payments}, hosts: [pay.example]}"}


class Selection(Strict, frozen=True):
    """Which APIs: those that fit all that it has."""

    labels: Labels = msgspec.field(default_factory=dict)
    """The API has all of these."""
    hosts: Annotated[list[str], Meta(max_length=100)] = msgspec.field(default_factory=list)
    """A request to one of these hosts could be the API's. An API without hosts is on every one."""


class AddedPolicies(Strict, frozen=True):
    """Policies beside those that an API has. It cannot take them away; one that it has too runs twice."""

    before: Policies = msgspec.field(default_factory=list)
    """They run before the API's own."""
    after: Policies = msgspec.field(default_factory=list)
    """They run behind the API's own, and before those of its operations."""


class DefaultsSpec(Strict, frozen=True, kw_only=True):
    """What APIs get. A setting is a field of `ApiSpec`, with the same units."""

    selection: Annotated[Selection, Meta(extra_json_schema=SELECTION_FORM)] | UnsetType = msgspec.field(
        name="for", default=UNSET
    )
    """Which APIs; unset: all."""
    policies: AddedPolicies | UnsetType = UNSET
    request_timeout: Timeout | UnsetType = UNSET
    idle_timeout: Timeout | UnsetType = UNSET
    stream_timeout: Timeout | UnsetType = UNSET
    retries: bool | Retries | UnsetType = UNSET
    websocket: bool | Websocket | UnsetType = UNSET
    access_log: AccessLog | UnsetType = UNSET
    encoded_responses: bool | UnsetType = UNSET
    strict_paths: bool | UnsetType = UNSET
    map_upstream_paths: bool | UnsetType = UNSET
    enforced: Annotated[
        list[Annotated[Setting, Meta(extra_json_schema=expecting(f"a setting: {', '.join(SETTINGS)}"))]],
        Meta(max_length=len(SETTINGS)),
    ] = msgspec.field(default_factory=list)
    """Settings that an API and its operations cannot say otherwise."""


class Defaults(Strict, frozen=True):
    """One `Defaults` resource, as it is written."""

    api_version: Literal["gatewright.dev/v1"]
    kind: Literal["Defaults"]
    metadata: Metadata
    spec: DefaultsSpec


def defaults_from_document(document: JsonObject) -> Defaults:
    """Of a document that was validated before."""
    return msgspec.convert(document, Defaults)
