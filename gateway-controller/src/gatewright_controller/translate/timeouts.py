"""How long an exchange may take: what the API says, what its operation says, and what the operator decides for both."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import UNSET, UnsetType

from gatewright_controller.definitions import Definitions
from gatewright_controller.model import Api, Operation, milliseconds
from gatewright_controller.translate.settings import EdgeSettings


@dataclass(frozen=True)
class Timeouts:
    """In milliseconds. `idle_ms` is at least what policies may take and the upstream until its answer begins."""

    request_ms: int
    idle_ms: int


def timeouts(api: Api, operation: Operation, definitions: Definitions, settings: EdgeSettings) -> Timeouts:
    """Of one operation. While policies run nothing moves, so their time counts as idle.

    That of a stream counts once, however many chunks it is given: between two of its chunks something has moved.
    """
    attached = (*api.spec.policies, *operation.policies)
    policies = sum(definitions.resolve(one.name, one.version).work_ms(milliseconds(one.timeout)) for one in attached)
    request = _said(operation.request_timeout, api.spec.request_timeout)
    idle = _said(operation.idle_timeout, api.spec.idle_timeout)
    if request is None:
        request = settings.request_timeout_ms if idle is None else min(settings.request_timeout_ms, idle - policies)
    if idle is None:
        idle = max(settings.idle_timeout_ms, request + policies)
    return Timeouts(request, idle)


def _said(own: str | UnsetType, shared: str | UnsetType) -> int | None:
    said = shared if own is UNSET else own
    return None if isinstance(said, UnsetType) else milliseconds(said)
