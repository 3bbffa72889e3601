"""An API together with the Defaults that fit it."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, UnsetType

from gatewright_controller.management.shapes.answer import Answered
from gatewright_controller.model import Api


class EffectivePolicy(Answered, frozen=True):
    """A policy that runs."""

    field: str
    """Of the effective API: `spec.policies[0]`."""
    name: str
    version: str
    """Exactly: `v1.2.0`."""
    written_at: str
    """The field where it was written, of the Defaults or of the API."""
    defaults: str | UnsetType = UNSET
    """Name of the Defaults that add it; none where the API has it."""


class EffectiveSetting(Answered, frozen=True):
    """A setting that the API or Defaults say; of others the built-in value counts."""

    name: str
    """`requestTimeout`: of the API's spec."""
    value: Any
    defaults: str | UnsetType = UNSET
    """Name of the Defaults that say it; none where the API does."""
    enforced: bool = False
    """An API and its operations cannot say otherwise."""
    overruled: Any = UNSET
    """What the API says of it and does not count; none where it says nothing."""


class EffectiveStatus(Answered, frozen=True):
    """Where each part comes from."""

    revision: int
    """Of the write that left the API so."""
    defaults: list[str]
    """Names of the Defaults that fit, the general ones first."""
    policies: list[EffectivePolicy]
    """Of the API level in the order in which they run, then those of operations."""
    settings: list[EffectiveSetting]


class EffectiveApi(Api, frozen=True, kw_only=True):
    """An API as it runs, secrets masked."""

    status: EffectiveStatus
