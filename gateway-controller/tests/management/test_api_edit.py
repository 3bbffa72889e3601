"""What an editor needs: an API as YAML, and a write that is refused if the API has changed since it was read."""

from __future__ import annotations

import textwrap

import httpx
import pytest
from gatewright_controller.apis.controller import Controller
from gatewright_controller.management.accept import prefers_yaml
from gatewright_documents.values import JsonObject

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
YAML = {"accept": "application/yaml"}
YAML_BODY = {"content-type": "application/yaml"}


async def test_an_api_is_read_as_yaml_and_written_back(client: httpx.AsyncClient, orders: JsonObject) -> None:
    orders["spec"] |= {"strictPaths": False, "displayName": "Orders: all"}
    orders["spec"]["operations"][1] |= {"requestTimeout": "5s", "headers": [{"name": "x-v", "exact": "2"}]}
    written = (await client.post("/v1/apis", json=orders)).json()
    shown = await client.get("/v1/apis/orders-v1", headers=YAML)
    assert shown.headers["content-type"].startswith("application/yaml")
    assert shown.text == textwrap.dedent("""\
        apiVersion: gatewright.dev/v1
        kind: Api
        metadata:
          name: orders-v1
        spec:
          displayName: "Orders: all"
          version: v1.0
          context: /orders/$version
          upstream:
            main:
              url: http://orders.internal:8080/api
          strictPaths: false
          policies:
            - name: log-message
              version: v1
          operations:
            - method: GET
              path: /{id}
            - method: POST
              path: /
              headers:
                - name: x-v
                  exact: "2"
              requestTimeout: 5s
              policies:
                - name: rewrite-body
                  version: v1
        """)
    back = await client.put("/v1/apis/orders-v1", content=shown.text, headers=YAML_BODY)
    assert back.json() == written


@pytest.mark.parametrize(
    ("accept", "yaml"),
    [
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("text/html, */*;q=0.8", False),
        ("application/yaml", True),
        ("Text/YAML; charset=utf-8", True),
        ("application/x-yaml, */*", True),
        ("application/json, application/yaml;q=0.5", False),
        ("application/json;q=0.1, application/yaml;q=0.5", True),
        ("application/yaml;q=0", False),
        ("application/yaml;q=nonsense", True),
        (",;q=,;", False),
    ],
)
def test_a_client_that_accepts_yaml_gets_it(accept: str, yaml: bool) -> None:
    assert prefers_yaml(accept) is yaml


async def test_a_write_is_for_the_revision_that_was_read(
    client: httpx.AsyncClient, controller: Controller, orders: JsonObject
) -> None:
    await client.post("/v1/apis", json=orders)
    read = await client.get("/v1/apis/orders-v1", headers=YAML)
    tag = read.headers["etag"]
    assert tag == (await client.get("/v1/apis/orders-v1")).headers["etag"]
    assert (read.headers["vary"], read.headers["cache-control"]) == ("accept", "no-store")
    mine = {**YAML_BODY, "if-match": tag}
    text = read.text.replace("/{id}", "/{key}")
    first = await client.put("/v1/apis/orders-v1", content=text, headers=mine)
    assert first.status_code == 200
    newest = await client.get("/v1/apis/orders-v1")
    assert newest.headers["etag"] == f'"{first.json()["status"]["revision"]}"' != tag

    for answer in (
        await client.put("/v1/apis/orders-v1", content=read.text, headers=mine),
        await client.put("/v1/apis/orders-v1?dry_run=true", content=read.text, headers=mine),
        await client.put("/v1/apis/orders-v1", content="metadata: {name: orders-v1}", headers=mine),
        await client.delete("/v1/apis/orders-v1", headers={"if-match": tag}),
    ):
        assert answer.status_code == 412
        problem = answer.json()
        revision = problem["revision"]
        assert f'"{revision}"' == newest.headers["etag"]
        assert problem["detail"] == (
            f"the API orders-v1 has been written since: it has revision {revision} of {problem['updatedAt']}; "
            "GET /v1/apis/orders-v1 has it: make the change anew on that, and send its ETag as If-Match; "
            "without If-Match what is there is replaced, whatever it is"
        )
    assert (await client.get("/v1/apis/orders-v1")).json() == newest.json()

    listed = {**YAML_BODY, "if-match": f"{tag}, {newest.headers['etag']}"}
    assert (await client.put("/v1/apis/orders-v1", content=read.text, headers=listed)).status_code == 200
    any_there_is = {**YAML_BODY, "if-match": "*"}
    assert (await client.put("/v1/apis/orders-v1", content=text, headers=any_there_is)).status_code == 200
    revision = controller.store.get("orders-v1").revision
    assert (await client.delete("/v1/apis/orders-v1", headers={"if-match": f'"{revision}"'})).status_code == 204
    assert (await client.delete("/v1/apis/orders-v1", headers={"if-match": f'"{revision}"'})).status_code == 404
    assert (await client.put("/v1/apis/orders-v1", content=text, headers=mine)).status_code == 404


@pytest.mark.parametrize("tag", ["12", 'W/"12"', '"a"', '"12', "", '"12", *', f'"{"9" * 30}"', '"\u0661"'])
async def test_a_precondition_that_cannot_be_read_is_none(
    client: httpx.AsyncClient, orders: JsonObject, tag: str
) -> None:
    await client.post("/v1/apis", json=orders)
    refused = await client.put("/v1/apis/orders-v1", json=orders, headers=httpx.Headers([(b"if-match", tag.encode())]))
    assert (refused.status_code, refused.headers["content-type"]) == (400, "application/problem+json")
    assert "expected If-Match to have the ETag that a GET of the resource gave" in refused.json()["detail"]
