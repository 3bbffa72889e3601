"""Paths of the API server, by kinds and keys."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote


class Resource(NamedTuple):
    """A kind as its paths name it. group: "" for the core."""

    group: str
    version: str
    plural: str

    def all_path(self) -> str:
        """Of the objects of all namespaces."""
        return f"{self._root}/{self.plural}"

    def namespace_path(self, namespace: str) -> str:
        """Of the objects of a namespace."""
        return f"{self._root}/namespaces/{quote(namespace, safe='')}/{self.plural}"

    def path(self, namespace: str, name: str, subresource: str = "") -> str:
        """Of an object. namespace: "" where the kind has none."""
        collection = self.namespace_path(namespace) if namespace else self.all_path()
        return "/".join(part for part in (collection, quote(name, safe=""), subresource) if part)

    @property
    def api_version(self) -> str:
        """As objects name it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def _root(self) -> str:
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"


DEPLOYMENTS = Resource("apps", "v1", "deployments")
SERVICES = Resource("", "v1", "services")
SECRETS = Resource("", "v1", "secrets")
LEASES = Resource("coordination.k8s.io", "v1", "leases")
