"""A write of the Gateway that is for one revision alone: `If-Match`, as for APIs."""

from __future__ import annotations

import httpx
import pytest
from gatewright_documents.values import JsonObject

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


def gateway(port: int) -> JsonObject:
    spec = {"listeners": [{"name": "http", "port": port}]}
    return {"apiVersion": "gatewright.dev/v1", "kind": "Gateway", "spec": spec}


async def test_a_write_for_an_older_revision_is_refused_and_changes_nothing(client: httpx.AsyncClient) -> None:
    assert (await client.put("/v1/gateway", json=gateway(8080))).status_code == 200
    tag = (await client.get("/v1/gateway")).headers["etag"]
    mine = {"if-match": tag}
    assert (await client.put("/v1/gateway", json=gateway(8081), headers=mine)).status_code == 200
    newest = await client.get("/v1/gateway")
    assert newest.headers["etag"] == f'"{newest.json()["status"]["revision"]}"' != tag
    for refused in (
        await client.put("/v1/gateway", json=gateway(8082), headers=mine),
        await client.put("/v1/gateway?dry_run=true", json=gateway(8082), headers=mine),
        await client.delete("/v1/gateway", headers=mine),
    ):
        status, problem = newest.json()["status"], refused.json()
        assert (refused.status_code, problem["revision"], problem["updatedAt"]) == (
            412,
            status["revision"],
            status["updatedAt"],
        )
        assert problem["detail"].startswith(f"the Gateway has been written since: it has revision {status['revision']}")
    assert (await client.get("/v1/gateway")).json() == newest.json()

    both = {"if-match": f"{tag}, {newest.headers['etag']}"}
    assert (await client.delete("/v1/gateway", headers=both)).status_code == 204


async def test_where_none_was_written_no_revision_fits(client: httpx.AsyncClient) -> None:
    refused = await client.put("/v1/gateway", json=gateway(8080), headers={"if-match": '"1"'})
    assert refused.status_code == 412
    assert refused.json()["detail"] == "the Gateway is not there, so no ETag fits; leave If-Match out"
    assert (await client.get("/v1/gateway")).status_code == 404
    assert (await client.put("/v1/gateway", json=gateway(8080), headers={"if-match": "*"})).status_code == 200


async def test_a_tag_of_another_form_is_refused(client: httpx.AsyncClient) -> None:
    refused = await client.put("/v1/gateway", json=gateway(8080), headers={"if-match": "newest"})
    assert refused.status_code == 400
    assert "expected If-Match to have the ETag that a GET of the resource gave" in refused.json()["detail"]
