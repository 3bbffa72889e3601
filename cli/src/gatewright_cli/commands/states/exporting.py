"""The state of a controller, written to a place."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
from gatewright_controller.signed_state import (
    NotWrittenError,
    SignedStateError,
    place_mistake,
    read_head,
    shown,
    write,
)

from gatewright_cli.clients.controller_refusals import DeployError, NoAnswerError, RefusedError, preflight_error
from gatewright_cli.commands.controller_address import ControllerAddress, controller_address
from gatewright_cli.commands.options import NamedController
from gatewright_cli.local_http import Answer
from gatewright_cli.mistakes import PreflightError

SECONDS = 120.0


def export_state(place: str, run_dir: Path | None, controller: NamedController | None) -> str:
    """Returns what was written, and where. Raises PreflightError."""
    if mistake := place_mistake(place):
        raise PreflightError([f"--output: {mistake}"])
    address = controller_address(run_dir, controller)
    try:
        document = _fetch(address)
        head = read_head(document)
        asyncio.run(write(place, document))
    except DeployError as error:
        raise preflight_error(error) from error
    except SignedStateError as error:
        raise PreflightError([f"{address.place}: {error}"]) from error
    except NotWrittenError as error:
        raise PreflightError([str(error)]) from error
    return f"{shown(place)}: revision {head.revision} of {address.place}, {len(document)} bytes, key {head.key}"


def _fetch(address: ControllerAddress) -> bytes:
    """By httpx: a state may have a hundred megabytes. Raises RefusedError, NoAnswerError."""
    headers = {"authorization": f"Bearer {address.token}"} if address.token else {}
    verify = address.tls if address.tls is not None else True
    try:
        response = httpx.get(
            f"{address.url}/v1/state", headers=headers, verify=verify, timeout=SECONDS, trust_env=False
        )
    except httpx.HTTPError as error:
        raise NoAnswerError(f"the controller at {address.url} gave no answer ({type(error).__name__})") from error
    answer = Answer(response.status_code, {name.lower(): value for name, value in response.headers.items()})
    answer.content = response.content
    if answer.is_error:
        raise RefusedError.of(answer)
    return answer.content
