"""A policy named in an API, with its parameters and settings."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from gatewright_documents.strict import expecting
from gatewright_documents.values import JsonObject
from msgspec import UNSET, Meta, UnsetType

from gatewright_controller.model.common import Strict, Timeout

Mode = Literal["enforce", "shadow"]
OnError = Literal["fail", "continue"]
PolicyVersion = Annotated[
    str,
    Meta(
        pattern=r"^v(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*))?$",
        extra_json_schema=expecting("'v1' for the newest v1.x.y, or an exact version such as 'v1.2.3'"),
    ),
]

Condition = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=2048,
        extra_json_schema=expecting("a condition in CEL of at most 2048 bytes, such as 'request.method == \"GET\"'"),
    ),
]

DEFAULT_TIMEOUT = "1s"
DEFAULT_MAX_BODY_BYTES = 1024 * 1024


class OnErrorByClass(Strict, frozen=True):
    """What a failure of each class does; the classes not named fail."""

    timeout: OnError | UnsetType = UNSET
    overloaded: OnError | UnsetType = UNSET
    unavailable: OnError | UnsetType = UNSET
    crashed: OnError | UnsetType = UNSET
    exception: OnError | UnsetType = UNSET
    bad_action: OnError | UnsetType = UNSET
    body_too_large: OnError | UnsetType = UNSET
    bad_body: OnError | UnsetType = UNSET

    def named(self) -> dict[str, OnError]:
        """The classes that are named, as the resource spells them."""
        choices: dict[str, OnError] = msgspec.to_builtins(self)
        return choices


class PolicyAttachment(Strict, frozen=True):
    """A policy named in an API, with its parameters and settings."""

    name: str
    version: PolicyVersion
    mode: Mode = "enforce"
    """`shadow` runs it beside: it sees what it would see, nothing of its action is applied, and what it would have
    changed is compared, counted and recorded."""
    params: JsonObject = msgspec.field(default_factory=dict)
    when: Condition | UnsetType = UNSET
    """Which exchanges it applies to: a condition in CEL on the request. Unset: all."""
    timeout: Timeout = DEFAULT_TIMEOUT
    """Time one execution may take. Of a stream: what the policy's own work may take for one chunk."""
    stream_idle_timeout: Timeout | UnsetType = UNSET
    """Time that a policy which streams a body may wait for its next chunk; unset: as long as `idleTimeout` lets it."""
    on_error: Annotated[
        OnError | OnErrorByClass, Meta(extra_json_schema=expecting("fail, continue, or an object of failure classes"))
    ] = "fail"
    """What a failure does; `continue` discards the whole action and goes on."""
    max_concurrency: Annotated[int, Meta(ge=1, le=1_000_000)] | UnsetType = UNSET
    """Executions of this attachment under way at once; unset: the node's own default."""
    max_body_bytes: Annotated[int, Meta(ge=1, le=1024**3)] = DEFAULT_MAX_BODY_BYTES
    """Largest body that the policy is given; a larger one fails with `bodyTooLarge`."""
