"""The kinds of resources that a controller has, one row of `KINDS` for each: all that the commands know of a kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Resource = dict[str, Any]
"""A resource as the controller answers with it."""


@dataclass(frozen=True)
class Column:
    """A column of the table. wide: whether only `-o wide` has it."""

    heading: str
    cell: Callable[[Resource], object]
    wide: bool = False


@dataclass(frozen=True)
class Kind:
    """A kind of resources. name, plural: as people write it. path: of the list, or of the only one if `is_single`.

    name_of: the name of a resource, which `-o name` prints. matches: whether a resource is meant by a name, for kinds
    that the controller only lists; None: GET PATH/NAME has it. document: what a person writes of it, for `-o yaml`.
    filters: the query parameters of its list that `get` has options for. is_written: whether it can be deleted,
    and has a history.
    """

    name: str
    plural: str
    path: str
    columns: tuple[Column, ...]
    name_of: Callable[[Resource], str]
    matches: Callable[[Resource, str], bool] | None = None
    document: Callable[[Resource], Resource] = dict
    filters: tuple[str, ...] = ()
    is_single: bool = False
    is_written: bool = False

    def path_of(self, name: str) -> str:
        """The path of a resource of this kind."""
        return self.path if self.is_single else f"{self.path}/{quote(name, safe='')}"

    def __str__(self) -> str:
        return self.name


def _api_name(api: Resource) -> str:
    return str(api["metadata"]["name"])


def _written(resource: Resource) -> Resource:
    """Without `status`, which is the controller's."""
    return {key: value for key, value in resource.items() if key != "status"}


def _written_gateway(gateway: Resource) -> Resource:
    """Without `status` and `metadata.source`, which are the controller's."""
    document = _written(gateway)
    if "metadata" in document:
        document["metadata"] = {key: value for key, value in document["metadata"].items() if key != "source"}
    return document


def _gateway_name(gateway: Resource) -> str:
    return str(gateway.get("metadata", {}).get("name", "gateway"))


def _listeners(gateway: Resource) -> str:
    return ",".join(item["name"] for item in gateway.get("spec", {}).get("listeners", []))


def _context(api: Resource) -> str:
    return str(api["spec"]["context"]).replace("$version", str(api["spec"]["version"]))


def _policies(api: Resource) -> str:
    versions = {f"{policy['name']}:{policy['version']}" for policy in api["status"]["policies"]}
    return ",".join(sorted(versions))


def _labels(api: Resource) -> str:
    return _labels_text(api["metadata"].get("labels", {}))


def _labels_text(labels: dict[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def _selected_labels(defaults: Resource) -> str:
    """Of the APIs that they are for; `*` for any."""
    return _labels_text(defaults["spec"].get("for", {}).get("labels", {})) or "*"


def _added_policies(defaults: Resource) -> str:
    added = defaults["spec"].get("policies", {})
    return ",".join(_policy_name(policy) for place in ("before", "after") for policy in added.get(place, ()))


def labels_of_node(node: Resource) -> str:
    """`tier=edge,zone=eu`; "" for none."""
    return _labels_text(node.get("labels", {}))


def drain_text(drain: Resource) -> str:
    """`serving`, or `drained, by token:ann since 2026-12-01T08:00:00Z: new kernel`, as far as it is known."""
    state = "serving" if drain["state"] == "unsupported" else str(drain["state"])
    by = f", by {drain['by']} since {drain['since']}" if "by" in drain else ""
    return f"{state}{by}" + (f": {drain['reason']}" if "reason" in drain else "")


def _drain_state(node: Resource) -> str:
    return drain_text({"state": node.get("drain", {}).get("state", "unsupported")})


def _part(plan: Resource, name: str) -> list[Resource]:
    part: list[Resource] = plan["spec"].get(name, [])
    return part


def _policy_name(policy: Resource) -> str:
    return f"{policy['name']}:{policy['version']}"


def _status(member: str) -> Callable[[Resource], object]:
    return lambda resource: resource["status"].get(member, "")


API = Kind(
    "api",
    "apis",
    "/v1/apis",
    (
        Column("NAME", _api_name),
        Column("VERSION", lambda api: api["spec"]["version"]),
        Column("CONTEXT", _context),
        Column("HOSTS", lambda api: ",".join(api["spec"].get("hosts", [])), wide=True),
        Column("LABELS", _labels, wide=True),
        Column("OWNER", _status("owner"), wide=True),
        Column("REVISION", _status("revision"), wide=True),
        Column("UPDATED", _status("updatedAt"), wide=True),
        Column("POLICIES", _policies, wide=True),
        Column("STATE", _status("state")),
        Column("REASON", _status("reason")),
    ),
    _api_name,
    document=_written,
    filters=("state", "label", "owner"),
    is_written=True,
)
GATEWAY = Kind(
    "gateway",
    "gateways",
    "/v1/gateway",
    (
        Column("NAME", _gateway_name),
        Column("ORIGIN", _status("origin")),
        Column("LISTENERS", _listeners),
        Column("REVISION", _status("revision"), wide=True),
        Column("UPDATED", _status("updatedAt"), wide=True),
        Column("RESTART", lambda gateway: ",".join(gateway["status"]["restart"]), wide=True),
        Column("STATE", _status("state")),
        Column("REASON", _status("reason")),
    ),
    _gateway_name,
    document=_written_gateway,
    is_single=True,
    is_written=True,
)
NODE = Kind(
    "node",
    "nodes",
    "/v1/nodes",
    (
        Column("NAME", lambda node: node["id"]),
        Column("LABELS", labels_of_node),
        Column("STATE", _drain_state),
        Column("CONNECTED", lambda node: node["connectedAt"]),
        Column("ENGINE", lambda node: node["engineVersion"], wide=True),
        Column("POLICIES", lambda node: len(node["policies"]), wide=True),
        Column("GATEWAY", lambda node: node["gateway"]["state"]),
        Column("APIS", lambda node: len(node["apis"])),
        Column("PENDING", lambda node: node["states"]["pending"]),
        Column("REJECTED", lambda node: node["states"]["rejected"]),
        Column("LACKS", lambda node: ",".join(map(_policy_name, node["lacks"])), wide=True),
    ),
    lambda node: str(node["id"]),
)
POLICY = Kind(
    "policy",
    "policies",
    "/v1/policies",
    (
        Column("NAME", lambda policy: policy["name"]),
        Column("VERSION", lambda policy: policy["version"]),
        Column("RUNTIME", lambda policy: policy["runtime"]),
        Column("TITLE", lambda policy: policy["displayName"]),
        Column("DESCRIPTION", lambda policy: policy["description"], wide=True),
    ),
    _policy_name,
    matches=lambda policy, name: name in (policy["name"], _policy_name(policy)),
)
FILE = Kind(
    "file",
    "files",
    "/v1/files",
    (
        Column("NAME", lambda document: document["file"]),
        Column("KIND", lambda document: document["kind"]),
        Column("RESOURCE", lambda document: document["api"]),
        Column("STATE", lambda document: document["state"]),
        Column("WINNER", lambda document: document.get("winner", "")),
        Column("REASON", lambda document: document["reason"]),
    ),
    lambda document: str(document["file"]),
    matches=lambda document, name: name in (document["file"], document["file"].partition(":")[0], document["api"]),
)
WRITTEN = (
    Column("OWNER", _status("owner"), wide=True),
    Column("REVISION", _status("revision"), wide=True),
    Column("UPDATED", _status("updatedAt")),
)
"""Of who wrote a resource, and when."""


def _written_kind(name: str, plural: str, columns: tuple[Column, ...]) -> Kind:
    """A kind whose resources are written as documents with a name and labels. columns: behind the name."""
    return Kind(
        name,
        plural,
        f"/v1/{plural}",
        (Column("NAME", _api_name), *columns),
        _api_name,
        document=_written,
        filters=("label", "owner"),
        is_written=True,
    )


SECRET = _written_kind(
    "secret",
    "secrets",
    (
        Column("KEYS", lambda secret: ",".join(sorted(secret["spec"]["values"]))),
        Column("LABELS", _labels, wide=True),
        *WRITTEN,
        Column("USED BY", lambda secret: ",".join(secret["status"]["usedBy"])),
        Column("STATE", _status("state")),
        Column("REASON", _status("reason")),
    ),
)
CONSUMER = _written_kind(
    "consumer",
    "consumers",
    (
        Column("PLAN", lambda consumer: consumer.get("spec", {}).get("plan", "")),
        Column("LABELS", _labels, wide=True),
        *WRITTEN,
        Column("KEYS", _status("keys")),
    ),
)
PLAN = _written_kind(
    "plan",
    "plans",
    (
        Column(
            "LIMITS", lambda plan: ",".join(f"{limit['requests']}/{limit['per']}" for limit in _part(plan, "limits"))
        ),
        Column(
            "QUOTAS", lambda plan: ",".join(f"{quota['requests']}/{quota['period']}" for quota in _part(plan, "quotas"))
        ),
        *WRITTEN,
        Column("CONSUMERS", _status("consumers")),
    ),
)
DEFAULTS = _written_kind(
    "defaults",
    "defaults",
    (
        Column("LABELS", _selected_labels),
        Column("HOSTS", lambda defaults: ",".join(defaults["spec"].get("for", {}).get("hosts", ()))),
        Column("POLICIES", _added_policies),
        Column("ENFORCED", lambda defaults: ",".join(defaults["spec"].get("enforced", ()))),
        *WRITTEN,
    ),
)
NAMESPACE = _written_kind(
    "namespace",
    "namespaces",
    (
        Column("LABELS", lambda namespace: _labels_text(namespace["spec"]["labels"])),
        Column("CONTEXTS", lambda namespace: ",".join(namespace["spec"].get("contexts", ()))),
        Column("HOSTS", lambda namespace: ",".join(namespace["spec"].get("hosts", ()))),
        *WRITTEN,
    ),
)
NODE_GATEWAY = _written_kind(
    "nodegateway",
    "nodegateways",
    (
        Column("NODES", lambda gateway: _labels_text(gateway["spec"]["nodes"])),
        Column("LISTENERS", _listeners),
        *WRITTEN,
        Column("STATE", _status("state")),
        Column("REASON", _status("reason")),
    ),
)
KINDS = (API, CONSUMER, DEFAULTS, FILE, GATEWAY, NAMESPACE, NODE_GATEWAY, PLAN, SECRET, NODE, POLICY)


class KindType(click.ParamType[Kind]):
    """The name or the plural of one of these kinds."""

    name = "kind"

    def __init__(self, kinds: tuple[Kind, ...] = KINDS) -> None:
        self._kinds = kinds

    def convert(self, value: object, param: click.Parameter | None, context: click.Context | None) -> Kind:
        if isinstance(value, Kind):
            return value
        for kind in self._kinds:
            if str(value).lower() in (kind.name, kind.plural):
                return kind
        return self.fail(f"expected {', '.join(map(str, self._kinds))}, got {value!r}", param, context)

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem[str]]:
        """The name of a single kind, and the plurals of others."""
        from click.shell_completion import CompletionItem

        words = (kind.name if kind.is_single else kind.plural for kind in self._kinds)
        return [CompletionItem(word) for word in words if word.startswith(incomplete)]


WRITTEN_KINDS = tuple(kind for kind in KINDS if kind.is_written)
"""Those that can be deleted, and have a history."""
SERVED_KINDS = (API, GATEWAY, NODE_GATEWAY)
"""Those that nodes acknowledge: they can be waited for."""


def names_of(kind: Kind, names: tuple[str, ...]) -> tuple[str, ...]:
    """The names, each once; that of a single kind is the kind's own. Raises click.UsageError if there is none."""
    if kind.is_single:
        if names:
            raise click.UsageError(f"expected no NAME, since a controller has one {kind}, got {names[0]!r}")
        return (kind.name,)
    if not names:
        raise click.UsageError(f"expected NAME of at least one {kind}, got none")
    return tuple(dict.fromkeys(names))
