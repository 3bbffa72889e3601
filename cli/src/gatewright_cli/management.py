"""Brings API definitions to the controller's REST API, and tries whether traffic passes."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence

import msgspec

from gatewright_cli.api_files import ApiFile
from gatewright_cli.local_http import Answer, LocalClient, LocalHttpError
from gatewright_cli.log_output import LogOutput
from gatewright_cli.probes import http_client

TOKEN_VARIABLE = "GATEWRIGHT_CONTROLLER_TOKEN"  # noqa: S105 - the controller's own variable, not a token
WAIT_SECONDS = 30
SLACK_SECONDS = 10.0
TRIAL_SECONDS = 10.0
SAY_SECONDS = 10.0
PAUSE_SECONDS = 0.05
UNROUTED_SECONDS = 3.0
FAULTS = (500, 502, 503, 504)


class _Status(msgspec.Struct):
    state: str
    reason: str = ""


class _Deployed(msgspec.Struct):
    status: _Status


class _Mistake(msgspec.Struct):
    field: str
    message: str
    line: int = 0

    def __str__(self) -> str:
        return (f":{self.line}" if self.line else "") + (f": {self.field}" if self.field else "") + f": {self.message}"


class _Problem(msgspec.Struct):
    detail: str = ""
    errors: list[_Mistake] = []


class DeployError(Exception):
    """The controller, or a node, did not take an API: which, and all that it said."""


async def deploy(controller: str, apis: Sequence[ApiFile]) -> None:
    """Creates or changes each API at the controller's URL and waits until the node runs it.

    Raises DeployError, for all of them at once.
    """
    async with http_client(None, controller) as client:
        if token := os.environ.get(TOKEN_VARIABLE):
            client.headers["authorization"] = f"Bearer {token}"
        failures = [line for api in apis for line in await _deploy(client, api)]
    if failures:
        raise DeployError("\n".join(["not deployed:", *(f"  {line}" for line in failures)]))


async def reload_policies(controller: str) -> None:
    """Has the controller read the policy definitions again. Raises DeployError."""
    async with http_client(None, controller) as client:
        if token := os.environ.get(TOKEN_VARIABLE):
            client.headers["authorization"] = f"Bearer {token}"
        try:
            answer = await client.post("/v1/policies/reload", timeout=WAIT_SECONDS)
        except LocalHttpError as error:
            raise DeployError(f"the controller gave no answer ({error!r})") from error
        if answer.is_error:
            raise DeployError("; ".join(said.removeprefix(": ") for said in _refusal(answer)))


async def until_it_passes(url: str, trial: tuple[str, str], output: LogOutput) -> None:
    """Sends the trial request until an upstream's answer comes back; says what is in the way every ten seconds.

    A 404 is at first taken for a route that Envoy's workers do not have yet, and later for the upstream's own.
    """
    method, path = trial
    began = time.monotonic()
    say_at = began + SAY_SECONDS
    async with http_client(None, url) as client:
        while obstacle := await _obstacle(client, method, path, time.monotonic() - began):
            if time.monotonic() > say_at:
                say_at += SAY_SECONDS
                output.event("no traffic passes yet", "warning", request=f"{method} {path}", answer=obstacle)
            await asyncio.sleep(PAUSE_SECONDS)


async def _deploy(client: LocalClient, api: ApiFile) -> list[str]:
    """What is wrong, a line each; none where it is deployed."""
    try:
        answer = await _write(client, "POST", "/v1/apis", api)
        if answer.status_code == 409:
            answer = await _write(client, "PUT", f"/v1/apis/{api.name}", api)
    except LocalHttpError as error:
        return [f"{api.path}: the controller gave no answer ({error!r})"]
    if answer.is_error:
        return [f"{api.path}{said}" for said in _refusal(answer)]
    return [f"{api.path}: {said}" for said in _unsettled(answer)]


async def _write(client: LocalClient, method: str, path: str, api: ApiFile) -> Answer:
    headers = {"content-type": "application/json" if api.path.suffix == ".json" else "application/yaml"}
    wait, timeout = {"wait": str(WAIT_SECONDS)}, WAIT_SECONDS + SLACK_SECONDS
    return await client.request(method, path, content=api.content, headers=headers, params=wait, timeout=timeout)


def _refusal(answer: Answer) -> list[str]:
    """What goes behind the name of a file: ":LINE: FIELD: MESSAGE" for each mistake."""
    try:
        problem = msgspec.json.decode(answer.content, type=_Problem)
    except msgspec.DecodeError:
        return [f": {answer.status_code} {answer.text[:500]}"]
    return [str(each) for each in problem.errors] or [f": {answer.status_code} {problem.detail}"]


def _unsettled(answer: Answer) -> list[str]:
    status = msgspec.json.decode(answer.content, type=_Deployed).status
    return [] if status.state == "deployed" else [f"{status.state}: {status.reason}"]


async def _obstacle(client: LocalClient, method: str, path: str, waited: float) -> str | None:
    try:
        answer = await client.request(method, path, timeout=TRIAL_SECONDS)
    except LocalHttpError as error:
        return repr(error)
    passes = answer.status_code not in FAULTS and (answer.status_code != 404 or waited > UNROUTED_SECONDS)
    return None if passes else f"{answer.status_code} {answer.text[:200]}"
