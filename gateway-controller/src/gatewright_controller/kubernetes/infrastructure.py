"""Deployments, Services and Secrets of Gateways: applied where they differ, deleted where the Gateway is gone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

from gatewright_documents.mistake import Invalid
from gatewright_documents.values import JsonObject

from gatewright_controller.gateway_api import NODE_LABEL, GatewayNodes, Key
from gatewright_controller.kubernetes.cache import Cache
from gatewright_controller.kubernetes.client import FORBIDDEN, NOT_FOUND, ApiError
from gatewright_controller.kubernetes.node_template import (
    CONTROLLER_LABEL,
    DIGEST,
    NodeTemplate,
    Placement,
    addresses_of,
    node_objects,
    object_name,
)
from gatewright_controller.kubernetes.paths import DEPLOYMENTS, SECRETS, SERVICES, Resource
from gatewright_controller.kubernetes.writing import Writer

log = logging.getLogger(__name__)
DEPLOYMENT, SECRET, SERVICE = "Deployment", "Secret", "Service"
RESOURCES = {SECRET: SECRETS, DEPLOYMENT: DEPLOYMENTS, SERVICE: SERVICES}


class Infrastructure:
    """Of one term. read_template: the file is read at each change, since a new release has another one. namespace:
    where all of them are, whatever the namespaces of their Gateways."""

    def __init__(
        self,
        writer: Writer,
        cache: Cache,
        read_template: Callable[[], NodeTemplate],
        namespace: str,
        controller_name: str,
    ) -> None:
        self._writer, self._cache, self._read_template = writer, cache, read_template
        self._namespace, self._controller_name = namespace, controller_name
        self._generations: dict[Key, int] = {}
        """Of each object when it was applied last: another one says that its spec was changed."""
        self._trouble = ""

    async def ensure(self, gateways: Sequence[GatewayNodes], objects: Mapping[Key, JsonObject]) -> str:
        """Why not all is as it is to be; "" where it is. objects: of which the Gateways were made."""
        troubles: list[str] = []
        try:
            template = self._read_template()
            for nodes in gateways:
                for wanted in node_objects(template, nodes, self._placement(nodes, objects)):
                    troubles += await self._apply(wanted)
        except Invalid as invalid:
            troubles.append(str(invalid))
        wanted_names = {object_name(nodes) for nodes in gateways}
        for key, found in list(self._foreign_to(wanted_names)):
            troubles += await self._delete(key, found)
        trouble = "; ".join(troubles)
        if trouble and trouble != self._trouble:
            log.error(
                "Deployments, Services or Secrets of Gateways are not as they are to be", extra={"reason": trouble}
            )
        self._trouble = trouble
        return trouble

    def addresses(self, gateways: Sequence[GatewayNodes]) -> dict[Key, list[JsonObject]]:
        """Of each Gateway, as its Service has them now."""
        services = {nodes.key: self._cache.get((SERVICE, self._namespace, object_name(nodes))) for nodes in gateways}
        return {key: addresses_of(service) if service else [] for key, service in services.items()}

    def _placement(self, nodes: GatewayNodes, objects: Mapping[Key, JsonObject]) -> Placement:
        spec = (objects.get(nodes.key) or {}).get("spec") or {}
        name = str(spec.get("gatewayClassName", ""))
        owner = objects.get(("GatewayClass", "", name))
        if owner:
            owner = {
                "apiVersion": "gateway.networking.k8s.io/v1",
                "kind": "GatewayClass",
                "metadata": owner["metadata"],
            }
        return Placement(self._namespace, self._controller_name, owner)

    async def _apply(self, wanted: JsonObject) -> list[str]:
        kind, name = wanted["kind"], wanted["metadata"]["name"]
        key = kind, self._namespace, name
        if self._is_applied(key, wanted):
            return []
        try:
            found = await self._writer.apply(RESOURCES[kind].path(self._namespace, name), wanted)
        except ApiError as error:
            return [_reason(error, RESOURCES[kind], "patch")]
        self._generations[key] = _generation(found)
        log.info("applied", extra={"object": "/".join(key)})
        return []

    def _is_applied(self, key: Key, wanted: JsonObject) -> bool:
        found = self._cache.get(key)
        if found is None:
            return False
        digest = (found["metadata"].get("annotations") or {}).get(DIGEST)
        generation = self._generations.setdefault(key, _generation(found))
        return digest == wanted["metadata"]["annotations"][DIGEST] and generation >= _generation(found)

    def _foreign_to(self, names: set[str]) -> Iterator[tuple[Key, JsonObject]]:
        """What this controller has made for Gateways that there are no more."""
        ours = Placement(self._namespace, self._controller_name, None).labels[CONTROLLER_LABEL]
        for kind in RESOURCES:
            for key, found in self._cache.of_kind(kind).items():
                labels = found["metadata"].get("labels") or {}
                is_ours = key[1] == self._namespace and labels.get(CONTROLLER_LABEL) == ours and NODE_LABEL in labels
                if is_ours and key[2] not in names and not found["metadata"].get("deletionTimestamp"):
                    yield key, found

    async def _delete(self, key: Key, found: JsonObject) -> list[str]:
        try:
            await self._writer.delete(RESOURCES[key[0]].path(key[1], key[2]), found["metadata"]["uid"])
        except ApiError as error:
            return [] if error.status == NOT_FOUND else [_reason(error, RESOURCES[key[0]], "delete")]
        self._generations.pop(key, None)
        log.info("deleted, since its Gateway is gone", extra={"object": "/".join(key)})
        return []


def _generation(found: JsonObject) -> int:
    return int(found["metadata"].get("generation") or 0)


def _reason(error: ApiError, resource: Resource, verb: str) -> str:
    cure = f"; let the service account {verb} {resource.plural}" if error.status == FORBIDDEN else ""
    return f"{error}{cure}"
