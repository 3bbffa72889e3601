"""Tokens: what comes with one, from its creation to its end."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from gatewright_controller.access import Grant, Token, digest_of, new_text
from gatewright_controller.store import Author, Store
from gatewright_documents.values import JsonObject

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


async def create(client: httpx.AsyncClient, name: str, role: str, **bounds: object) -> dict[str, str]:
    """The headers that come with a new token."""
    created = await client.post("/v1/tokens", json={"name": name, "role": role, **bounds})
    assert created.status_code == 201, created.text
    return {"authorization": f"Bearer {created.json()['token']}"}


async def test_a_token_is_shown_once_and_kept_as_a_digest(
    client: httpx.AsyncClient, store: Store, sqlite_connection: Callable[[Store], object]
) -> None:
    created = await client.post("/v1/tokens", json={"name": "ci", "role": "publisher", "days": 30})
    answer = created.json()
    text = answer.pop("token")
    assert created.headers["location"] == "/v1/tokens/ci"
    assert (answer["role"], answer["createdBy"], answer["expired"]) == ("publisher", "local", False)
    assert answer == (await client.get("/v1/tokens/ci")).json()
    assert (await client.get("/v1/tokens")).json() == {"tokens": [answer]}
    dump = "\n".join(sqlite_connection(store).iterdump())  # type: ignore[attr-defined]
    assert text not in dump
    assert digest_of(text) in dump
    headers = {"authorization": f"Bearer {text}"}
    assert (await client.get("/v1/caller", headers=headers)).json()["actor"] == "token:ci"


async def test_a_deleted_or_expired_token_opens_nothing(client: httpx.AsyncClient, store: Store) -> None:
    headers = await create(client, "gone", "admin")
    assert (await client.get("/v1/apis", headers=headers)).status_code == 200
    assert (await client.delete("/v1/tokens/gone")).status_code == 204
    refused = await client.get("/v1/apis", headers=headers)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert "not expired" in refused.json()["detail"]
    assert (await client.delete("/v1/tokens/gone")).status_code == 404
    text, before = new_text(), datetime.now(UTC) - timedelta(seconds=1)
    old = Token("old", Grant("admin"), "2026-01-01T00:00:00.000Z", "local", before.isoformat().replace("+00:00", "Z"))
    store.create_token(old, digest_of(text), Author("local"))
    assert (await client.get("/v1/apis", headers={"authorization": f"Bearer {text}"})).status_code == 401
    assert (await client.get("/v1/tokens/old")).json()["expired"] is True


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"name": "x"}, "role"),
        ({"name": "x", "role": "root"}, "role"),
        ({"name": "X", "role": "viewer"}, "name"),
        ({"name": "x", "role": "viewer", "names": ["a b"]}, "names[0]"),
        ({"name": "x", "role": "viewer", "hosts": ["*"]}, "hosts[0]"),
        ({"name": "x", "role": "viewer", "contexts": ["payments"]}, "contexts[0]"),
        ({"name": "x", "role": "viewer", "days": 0}, "days"),
        ({"name": "x", "role": "viewer", "team": "a"}, "team"),
        ({"name": "x", "role": "admin", "names": ["a"]}, "role"),
    ],
    ids=json.dumps,
)
async def test_a_mistake_is_said_with_its_field(client: httpx.AsyncClient, document: JsonObject, field: str) -> None:
    refused = await client.post("/v1/tokens", json=document)
    assert refused.status_code == 422
    assert [error["field"] for error in refused.json()["errors"]] == [field]
    assert refused.json()["detail"] == "1 mistake in the token"


async def test_a_name_is_taken_once(client: httpx.AsyncClient) -> None:
    await create(client, "ci", "viewer")
    taken = await client.post("/v1/tokens", json={"name": "ci", "role": "admin"})
    assert (taken.status_code, "already" in taken.json()["detail"]) == (409, True)


async def test_history_names_the_token(client: httpx.AsyncClient, orders: JsonObject) -> None:
    headers = await create(client, "ci", "publisher")
    assert (await client.post("/v1/apis", json=orders, headers=headers)).status_code == 201
    (entry,) = (await client.get("/v1/apis/orders-v1/revisions")).json()["revisions"]
    assert entry["actor"] == "token:ci"


async def test_a_client_that_guesses_has_to_wait(client: httpx.AsyncClient) -> None:
    answers = [await client.get("/v1/apis", headers={"authorization": f"Bearer gatewright_{n}"}) for n in range(120)]
    assert {answer.status_code for answer in answers} == {401, 429}
    assert answers[0].status_code == 401
    assert int(answers[-1].headers["retry-after"]) >= 1
    good = await create(client, "ci", "viewer")
    assert (await client.get("/v1/apis", headers=good)).status_code == 200, (
        "a good token is never kept waiting by others"
    )
