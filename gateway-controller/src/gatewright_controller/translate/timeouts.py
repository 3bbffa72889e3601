"""How long an exchange may take: what the API says, what its operation says, and what the operator decides for both."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from gatewright_controller.model import Api, Operation, milliseconds
from gatewright_controller.model.routing import waits_ms
from gatewright_controller.resource.definitions import Definitions
from gatewright_controller.translate.actions import Forwarding, action
from gatewright_controller.translate.settings import EdgeSettings


class Timeouts(msgspec.Struct, frozen=True):
    """In milliseconds. `request_ms` is that of each try; `idle_ms` is at least what policies may take and the upstream
    until its answer begins."""

    request_ms: int
    idle_ms: int
    idle_is_set: bool = False
    """Whether the API or the operation sets `idle_ms`: otherwise it may be longer."""


def timeouts(api: Api, operation: Operation, definitions: Definitions, settings: EdgeSettings) -> Timeouts:
    """The timeouts of one operation. While policies run no bytes pass, so their time counts as idle; that of shadows
    does not, since nothing waits for them.

    The time of a stream counts once, however many chunks it is given: between two of its chunks bytes have passed.
    """
    attached = [attachment for attachment in (*api.spec.policies, *operation.policies) if attachment.mode != "shadow"]
    policies = sum(
        definitions.resolve(attachment.name, attachment.version).work_ms(milliseconds(attachment.timeout))
        for attachment in attached
    )
    made = action(api.spec, operation)
    retries = made.retries if isinstance(made, Forwarding) else None
    tries, waits = (retries.attempts, waits_ms(retries)) if retries else (1, 0)
    if isinstance(made, Forwarding) and made.failover:
        tries = max(tries, len(api.spec.upstreams))
    request = _own_or_shared(operation.request_timeout, api.spec.request_timeout)
    idle = _own_or_shared(operation.idle_timeout, api.spec.idle_timeout)
    is_set = idle is not None
    if retries and not isinstance(retries.per_try_timeout, UnsetType):
        request = milliseconds(retries.per_try_timeout)
    if request is None:
        fits = settings.request_timeout_ms if idle is None else (idle - policies - waits) // tries
        request = min(settings.request_timeout_ms, fits)
    if idle is None:
        idle = max(settings.idle_timeout_ms, policies + tries * request + waits)
    return Timeouts(request, idle, is_set)


def _own_or_shared(own: str | UnsetType, shared: str | UnsetType) -> int | None:
    text = shared if own is UNSET else own
    return None if isinstance(text, UnsetType) else milliseconds(text)
