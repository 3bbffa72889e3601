"""Where a node answers Prometheus and health checks."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, UnsetType

from gatewright_controller.model.common import Address, Port, Strict, doc

DEFAULT_PORT = 9901
"""Where the admin listener listens by default, if the port is free."""


class Admin(Strict, frozen=True):
    """The node's admin listener: /metrics, /healthz and /ready, over HTTP in clear and without a password."""

    enabled: Annotated[bool, doc("false: there is none.")] = True
    address: Annotated[
        Address,
        doc("An address that other machines reach is warned of in the log: let only Prometheus reach it."),
    ] = "127.0.0.1"
    port: Annotated[
        Port | UnsetType,
        doc(
            f"TCP. Unset: {DEFAULT_PORT}, or any free one where that is taken; `gatewright status` names it. One that "
            "is taken leaves the listener where it was, and the engine's log says so.",
        ),
    ] = UNSET
