"""A client of the API server, as small as the lab's needs."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from typing import Any

import httpx
import yaml

Json = dict[str, Any]
FIELD_MANAGER = "lab"
APPLY = {"content-type": "application/apply-patch+yaml"}
MERGE = {"content-type": "application/merge-patch+json"}
PLURALS = {
    "Endpoints": "endpoints",
    "Gateway": "gateways",
    "GatewayClass": "gatewayclasses",
    "NetworkPolicy": "networkpolicies",
    "BackendTLSPolicy": "backendtlspolicies",
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
}
"""Of kinds whose plural is not their name with an s."""
WITHOUT_NAMESPACE = {
    "Namespace", "Node", "GatewayClass", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding",
    "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
}  # fmt: skip


def collection(api_version: str, kind: str, namespace: str = "") -> str:
    """The path of all objects of a kind, of one namespace or of all."""
    root = "/api" if api_version == "v1" else "/apis"
    within = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}/{api_version}{within}/{PLURALS.get(kind, kind.lower() + 's')}"


def path_of(document: Json) -> str:
    metadata = document["metadata"]
    namespace = "" if document["kind"] in WITHOUT_NAMESPACE else metadata.get("namespace", "default")
    return f"{collection(document['apiVersion'], document['kind'], namespace)}/{metadata['name']}"


class Client:
    """What tests ask of the API server, as its administrator."""

    def __init__(self, url: str, token: str, trust: ssl.SSLContext) -> None:
        self.options: Json = {
            "base_url": url,
            "headers": {"authorization": f"Bearer {token}"},
            "verify": trust,
            "timeout": 30,
        }
        self._http = httpx.Client(**self.options)

    def is_ready(self) -> bool:
        try:
            return self._http.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def apply(self, documents: Json | list[Json] | str) -> None:
        """Server-side apply of each; a text is YAML of several."""
        if isinstance(documents, str):
            documents = [document for document in yaml.safe_load_all(documents) if document]
        for document in documents if isinstance(documents, list) else [documents]:
            options = {"fieldManager": FIELD_MANAGER, "force": "true"}
            _check(self._http.patch(path_of(document), params=options, content=json.dumps(document), headers=APPLY))

    def get(self, api_version: str, kind: str, name: str, namespace: str = "") -> Json:
        return _check(self._http.get(f"{collection(api_version, kind, namespace)}/{name}"))

    def list(self, api_version: str, kind: str, namespace: str = "", **query: str) -> list[Json]:
        items: list[Json] = _check(self._http.get(collection(api_version, kind, namespace), params=query))["items"]
        return items

    def delete(self, api_version: str, kind: str, name: str, namespace: str = "") -> None:
        _check(self._http.delete(f"{collection(api_version, kind, namespace)}/{name}"))

    def evict(self, pod: str, namespace: str) -> bool:
        """Deletes a pod as a drain of its machine does; whether its PodDisruptionBudget allows it now."""
        metadata = {"name": pod, "namespace": namespace}
        document = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
        response = self._http.post(f"{collection('v1', 'Pod', namespace)}/{pod}/eviction", json=document)
        if response.status_code != 429:
            _check(response)
        return response.status_code != 429

    def merge_status(self, document: Json, status: Json) -> None:
        """Merges into the status of this object."""
        content = json.dumps({"status": status})
        _check(self._http.patch(f"{path_of(document)}/status", content=content, headers=MERGE))

    def text(self, path: str) -> str:
        response = self._http.get(path)
        assert response.is_success, f"{path}: {response.status_code} {response.text}"
        return response.text

    def exists(self, path: str) -> bool:
        return self._http.get(path).status_code == 200

    def close(self) -> None:
        self._http.close()


class AsyncClient:
    """The same, for what runs all the time beside the tests."""

    def __init__(self, client: Client) -> None:
        self._http = httpx.AsyncClient(**client.options)

    async def get(self, path: str) -> Json:
        """LookupError where it is not there."""
        response = await self._http.get(path)
        if response.status_code == 404:
            raise LookupError(response.json()["message"])
        return _check(response)

    async def bind(self, pod: str, node: str) -> None:
        """Schedules the pod of this path."""
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        name = pod.rsplit("/", 1)[1]
        document = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
        response = await self._http.post(f"{pod}/binding", json=document)
        if response.status_code not in {404, 409}:  # it is away already, or bound
            _check(response)

    async def post(self, path: str, document: Json) -> Json:
        return _check(await self._http.post(path, json=document))

    async def merge(self, path: str, document: Json) -> bool:
        """Whether the object is still there."""
        response = await self._http.patch(path, content=json.dumps(document), headers=MERGE)
        if response.status_code != 404:
            _check(response)
        return response.status_code != 404

    async def delete(self, path: str, options: Json) -> None:
        response = await self._http.request("DELETE", path, json=options)
        if response.status_code not in {404, 409}:  # it is away, or another of the same name is there
            _check(response)

    async def follow(self, path: str) -> AsyncIterator[tuple[str, Json]]:
        """ADDED for each that is there, then each event as it comes; again from the start where the history is gone."""
        while True:
            async for change in self._changes(path):
                yield change

    async def _changes(self, path: str) -> AsyncIterator[tuple[str, Json]]:
        listed = await self.get(path)
        for item in listed["items"]:
            yield "ADDED", item
        query = {"watch": "true", "resourceVersion": listed["metadata"]["resourceVersion"]}
        async with self._http.stream("GET", path, params=query, timeout=httpx.Timeout(30, read=None)) as response:
            async for line in response.aiter_lines():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return
                yield event["type"], event["object"]

    async def close(self) -> None:
        await self._http.aclose()


def _check(response: httpx.Response) -> Json:
    assert response.is_success, (
        f"{response.request.method} {response.request.url}: {response.status_code} {response.text}"
    )
    document: Json = response.json()
    return document
