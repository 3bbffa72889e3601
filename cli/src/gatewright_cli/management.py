"""Brings API definitions to the controller's REST API, and tries whether traffic passes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import httpx

from gatewright_cli.api_files import ApiFile
from gatewright_cli.log_output import LogOutput
from gatewright_cli.probes import http_client

WAIT_SECONDS = 30
SLACK_SECONDS = 10.0
SAY_SECONDS = 10.0
PAUSE_SECONDS = 0.05
NOT_YET = (404, 500, 502, 503, 504)


class DeployError(Exception):
    """The controller, or a node, did not take an API: which, and all that it said."""


async def deploy(controller: str, apis: Sequence[ApiFile]) -> None:
    """Creates or updates each API and waits until the node runs it. Raises DeployError, for all of them at once."""
    async with http_client(None, f"http://{controller}") as client:
        failures = [said for api in apis if (said := await _deploy(client, api))]
    if failures:
        raise DeployError("\n".join(failures))


async def until_it_passes(url: str, trial: tuple[str, str], output: LogOutput) -> None:
    """Sends the trial request until an upstream's answer comes back; says what is in the way every ten seconds."""
    method, path = trial
    say_at = time.monotonic() + SAY_SECONDS
    async with http_client(None, url) as client:
        while obstacle := await _obstacle(client, method, path):
            if time.monotonic() > say_at:
                say_at += SAY_SECONDS
                output.event("no traffic passes yet", "warning", request=f"{method} {path}", answer=obstacle)
            await asyncio.sleep(PAUSE_SECONDS)


async def _deploy(client: httpx.AsyncClient, api: ApiFile) -> str | None:
    headers = {"content-type": "application/json" if api.path.suffix == ".json" else "application/yaml"}
    wait, timeout = {"wait": f"{WAIT_SECONDS}s"}, WAIT_SECONDS + SLACK_SECONDS
    try:
        answer = await client.put(
            f"/apis/{api.name}", content=api.content, headers=headers, params=wait, timeout=timeout
        )
    except httpx.HTTPError as error:
        return f"{api.path}: the controller gave no answer ({error!r})"
    return None if answer.is_success else f"{api.path}: {answer.status_code} {answer.text}"


async def _obstacle(client: httpx.AsyncClient, method: str, path: str) -> str | None:
    try:
        answer = await client.request(method, path, timeout=10.0)
    except httpx.HTTPError as error:
        return repr(error)
    return f"{answer.status_code} {answer.text[:200]}" if answer.status_code in NOT_YET else None
