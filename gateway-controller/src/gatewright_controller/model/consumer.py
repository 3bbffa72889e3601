"""The `Consumer` and `Plan` resources: clients of APIs, and what they may use. Keys are no part of them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from gatewright_documents.strict import expecting
from msgspec import UNSET, Meta, UnsetType

from gatewright_controller.model.api import Metadata
from gatewright_controller.model.common import ResourceName, Strict

MOST_CREDENTIALS = 32
"""Of a consumer, of each sort."""
Period = Literal["day", "week", "month"]


class ConsumerClaims(Strict, frozen=True):
    """Who a JWT is about."""

    issuer: Annotated[str, Meta(min_length=1, max_length=512)]
    """`iss`."""
    subject: Annotated[str, Meta(min_length=1, max_length=512)] | UnsetType = UNSET
    """`sub`. Without, all tokens of the issuer that are about no other consumer: a client that signs its own."""


class ConsumerCertificate(Strict, frozen=True):
    """A certificate of a client."""

    sha256: Annotated[
        str,
        Meta(
            pattern="^[0-9a-f]{64}$",
            extra_json_schema=expecting(
                "64 lower-case hex digits", "`openssl x509 -in FILE -outform der | sha256sum` prints them"
            ),
        ),
    ]
    """Of the certificate in DER."""


class ConsumerSpec(Strict, frozen=True):
    """What a consumer is known by, beside its keys, and what it may use."""

    plan: ResourceName | UnsetType = UNSET
    """The name of a Plan."""
    jwt: Annotated[list[ConsumerClaims], Meta(max_length=MOST_CREDENTIALS)] = msgspec.field(default_factory=list)
    """JWTs that are about it. Another consumer has none of these."""
    certificates: Annotated[list[ConsumerCertificate], Meta(max_length=MOST_CREDENTIALS)] = msgspec.field(
        default_factory=list
    )
    """Its certificates. Another consumer has none of these."""


class Consumer(Strict, frozen=True):
    """One `Consumer` resource: a client of APIs. Its keys are data (`gatewright consumer key create`)."""

    api_version: Literal["gatewright.dev/v1"]
    kind: Literal["Consumer"]
    metadata: Metadata
    spec: ConsumerSpec = msgspec.field(default_factory=ConsumerSpec)


class PlanLimit(Strict, frozen=True, omit_defaults=True):
    """A limit of the policy rate-limit."""

    requests: Annotated[int, Meta(ge=1, le=10_000_000)]
    """That may pass in each `per`, evenly spread."""
    per: Annotated[
        str, Meta(pattern="^[1-9][0-9]{0,6}[smhd]$", extra_json_schema=expecting("a period such as 1s, 5m, 24h or 31d"))
    ]
    """A whole number of s, m, h or d; at most 31d."""
    burst: Annotated[int, Meta(ge=1, le=10_000_000)] | UnsetType = UNSET
    """That may pass at once after a pause. The default is `requests`."""
    name: (
        Annotated[
            str,
            Meta(
                pattern="^[A-Za-z0-9._-]{1,32}$",
                extra_json_schema=expecting("a name of letters, digits, ., _ and -, of 32 characters at most"),
            ),
        ]
        | UnsetType
    ) = UNSET
    """In the headers of answers. The default is its position in the list."""


class PlanQuota(Strict, frozen=True):
    """A quota of the policy quota."""

    requests: Annotated[int, Meta(ge=1, le=1_000_000_000_000)]
    """That may pass in each period."""
    period: Period
    """Of the calendar, in the time zone of the policy's attachment."""


class PlanSpec(Strict, frozen=True):
    """What consumers of the plan may use. Policies with `plan: true` apply it."""

    limits: Annotated[list[PlanLimit], Meta(max_length=4)] = msgspec.field(default_factory=list)
    """Limits, which all apply at once (rate-limit)."""
    quotas: Annotated[list[PlanQuota], Meta(max_length=3)] = msgspec.field(default_factory=list)
    """Quotas, at most one for each period (quota)."""


class ConsumerPlan(Strict, frozen=True):
    """One `Plan` resource."""

    api_version: Literal["gatewright.dev/v1"]
    kind: Literal["Plan"]
    metadata: Metadata
    spec: PlanSpec
