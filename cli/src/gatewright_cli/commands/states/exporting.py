"""The state of a controller, written to a place."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlencode

from gatewright_controller.signed_state import (
    NotWrittenError,
    SignedStateError,
    place_mistake,
    read_head,
    shown,
    write,
)

from gatewright_cli.clients.controller_refusals import DeployError, preflight_error
from gatewright_cli.clients.resources import Resources
from gatewright_cli.commands.controller_address import controller_address
from gatewright_cli.commands.options import NamedController
from gatewright_cli.mistakes import PreflightError

SECONDS = 120.0
"""For an answer: a state may have a hundred megabytes."""


def export_state(
    place: str, labels: Sequence[tuple[str, str]], run_dir: Path | None, controller: NamedController | None
) -> str:
    """labels: those of the nodes that it is for; none: of any. Returns what was written, and where. Raises
    PreflightError."""
    if mistake := place_mistake(place):
        raise PreflightError([f"--output: {mistake}"])
    address = controller_address(run_dir, controller)
    try:
        query = "?" + urlencode([("label", f"{key}={value}") for key, value in labels]) if labels else ""
        resources = Resources(address.url, address.token, address.tls, SECONDS)
        document = asyncio.run(resources.fetch_bytes(f"/v1/state{query}"))
        head = read_head(document)
        asyncio.run(write(place, document))
    except DeployError as error:
        raise preflight_error(error) from error
    except SignedStateError as error:
        raise PreflightError([f"{address.place}: {error}"]) from error
    except NotWrittenError as error:
        raise PreflightError([str(error)]) from error
    return f"{shown(place)}: revision {head.revision} of {address.place}, {len(document)} bytes, key {head.key}"
