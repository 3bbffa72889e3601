"""The objects of a cluster, found by what they are asked for: by kind, by label, by who may refer to them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from gatewright_documents.values import JsonObject

from gatewright_controller.gateway_api.contract import Key, Objects

GATEWAY_GROUP = "gateway.networking.k8s.io"
SERVICE_NAME_LABEL = "kubernetes.io/service-name"


class Cluster:
    """Reads `Objects`. Nothing in here changes."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects

    def get(self, kind: str, namespace: str, name: str) -> JsonObject | None:
        """None where there is none."""
        return self.objects.by_key.get((kind, namespace, name))

    def of_kind(self, kind: str) -> Mapping[Key, JsonObject]:
        """In the order of their keys."""
        return self._by_kind.get(kind, {})

    @cached_property
    def _by_kind(self) -> Mapping[str, Mapping[Key, JsonObject]]:
        found: dict[str, dict[Key, JsonObject]] = {}
        for key in sorted(self.objects.by_key):
            found.setdefault(key[0], {})[key] = self.objects.by_key[key]
        return found

    def namespace_labels(self, name: str) -> Mapping[str, str]:
        """None of a namespace that is not known."""
        namespace = self.get("Namespace", "", name)
        return labels_of(namespace) if namespace else {}

    def slices_of(self, namespace: str, service: str) -> list[JsonObject]:
        """A Service's EndpointSlices."""
        return self._slices.get((namespace, service), [])

    @cached_property
    def _slices(self) -> Mapping[tuple[str, str], list[JsonObject]]:
        found: dict[tuple[str, str], list[JsonObject]] = {}
        for key, endpoints in self.of_kind("EndpointSlice").items():
            service = labels_of(endpoints).get(SERVICE_NAME_LABEL, "")
            found.setdefault((key[1], service), []).append(endpoints)
        return found

    def permits(self, source: tuple[str, str, str], target: tuple[str, str, str, str]) -> bool:
        """Whether an object may refer to another one: it is in the same namespace, or a ReferenceGrant there says so.
        source: group, kind and namespace. target: group, kind, namespace and name."""
        group, kind, namespace, name = target
        if namespace == source[2]:
            return True
        return any(
            any((origin.get("group"), origin.get("kind"), origin.get("namespace")) == source for origin in origins)
            and any(
                (to.get("group"), to.get("kind")) == (group, kind) and to.get("name") in (None, "", name)
                for to in targets
            )
            for origins, targets in self._grants.get(namespace, [])
        )

    @cached_property
    def _grants(self) -> Mapping[str, list[tuple[list[JsonObject], list[JsonObject]]]]:
        found: dict[str, list[tuple[list[JsonObject], list[JsonObject]]]] = {}
        for key, grant in self.of_kind("ReferenceGrant").items():
            spec = spec_of(grant)
            found.setdefault(key[1], []).append((items(spec, "from"), items(spec, "to")))
        return found


def spec_of(found: JsonObject) -> JsonObject:
    """What it says; an empty object where it says nothing."""
    return inner(found, "spec")


def inner(holder: JsonObject, name: str) -> JsonObject:
    """An object in another one; an empty one where there is none."""
    value = holder.get(name)
    return value if isinstance(value, dict) else {}


def items(holder: JsonObject, name: str) -> list[JsonObject]:
    """The objects of a list; none where there is no list."""
    value = holder.get(name)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def texts(holder: JsonObject, name: str) -> list[str]:
    """The texts of a list; none where there is no list."""
    value = holder.get(name)
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def text(holder: JsonObject, name: str, default: str = "") -> str:
    """A text; the default where there is none, or an empty one."""
    value = holder.get(name)
    return value if isinstance(value, str) and value else default


def number(holder: JsonObject, name: str, default: int = 0) -> int:
    """A whole number; the default where there is none."""
    value = holder.get(name)
    return value if isinstance(value, int) else default


def labels_of(found: JsonObject) -> Mapping[str, str]:
    """Those of an object."""
    return {name: value for name, value in inner(inner(found, "metadata"), "labels").items() if isinstance(value, str)}


def generation_of(found: JsonObject) -> int:
    """0 where there is none, as in tests and for kinds without generations."""
    return number(inner(found, "metadata"), "generation")


def age_of(key: Key, found: JsonObject) -> tuple[str, str]:
    """Sorts the oldest first, then by namespace and name: times in UTC, as the API server writes them, sort as text."""
    return text(inner(found, "metadata"), "creationTimestamp"), f"{key[1]}/{key[2]}"


def selects(selector: JsonObject, labels: Mapping[str, str]) -> bool:
    """Whether a label selector takes an object with these labels."""
    if any(labels.get(name) != value for name, value in inner(selector, "matchLabels").items()):
        return False
    return all(_meets(expression, labels) for expression in items(selector, "matchExpressions"))


def _meets(expression: JsonObject, labels: Mapping[str, str]) -> bool:
    name, values = text(expression, "key"), texts(expression, "values")
    match text(expression, "operator"):
        case "In":
            return labels.get(name) in values
        case "NotIn":
            return labels.get(name) not in values
        case "Exists":
            return name in labels
        case "DoesNotExist":
            return name not in labels
    return False
