"""The JSON between the controller and the command line: the golden messages in conformance/messages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from gatewright_controller.local.peers import ENGINE, SUPERVISOR, in_file
from gatewright_documents.values import JsonObject

MESSAGES = Path(__file__).parents[2] / "conformance" / "messages"


def is_golden(answer: httpx.Response, name: str, update: bool) -> None:
    text, file = json.dumps(answer.json(), indent=2) + "\n", MESSAGES / name
    if update:
        file.write_text(text)
    assert text == file.read_text(), "after a change of the message run pytest with --update, and see who reads it"


@pytest.fixture
def update(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be rewritten."""
    return bool(request.config.getoption("--update"))


@pytest.mark.anyio
async def test_what_becomes_of_policies(
    client: httpx.AsyncClient, orders: JsonObject, folder: Path, rewritten: Callable[..., None], update: bool
) -> None:
    """The answer of POST /v1/policies/reload, and of /check, which is the same without the state of APIs."""
    await client.post("/v1/apis", json=orders)
    rewritten("v1.0.0", "v1.1.0")
    changed = folder / "rewrite-body-v1.0.0.yaml"
    changed.write_text(changed.read_text() + "displayName: Other\n")
    texts = {file.name: file.read_text() for file in folder.glob("*.yaml")}
    foreseen = (await client.post("/v1/policies/check", json={"definitions": texts})).json()
    answer = await client.post("/v1/policies/reload?wait=0")
    assert all(answer.json().values()), "expected something of everything"
    assert foreseen == answer.json() | {"apis": []}
    is_golden(answer, "controller-policies.json", update)


@pytest.mark.anyio
async def test_what_is_wrong_with_an_api(client: httpx.AsyncClient, update: bool) -> None:
    text = "apiVersion: gatewright.dev/v1\nkind: Api\nmetadata: {name: orders}\nspec:\n  version: 1\n"
    answer = await client.post("/v1/apis", content=text, headers={"content-type": "application/yaml"})
    assert answer.status_code == 422
    is_golden(answer, "controller-problem.json", update)


def test_the_file_of_the_peers() -> None:
    assert {SUPERVISOR, ENGINE} <= set(in_file(MESSAGES / "peers.json")())
