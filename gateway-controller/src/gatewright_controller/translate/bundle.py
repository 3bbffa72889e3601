"""One API, finished: chains, routes and clusters as the node's engine places them."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

import msgspec
from msgspec.structs import replace

from gatewright_controller._gen import node_pb2
from gatewright_controller.model import Api, Operation
from gatewright_controller.resource.definitions import Definitions
from gatewright_controller.resource.matches import ANY_METHOD, matches_of, operation_name
from gatewright_controller.resource.paths import PathTemplate, context_of, parse_path
from gatewright_controller.resource.secret_keys import secrets_in
from gatewright_controller.translate import envoy
from gatewright_controller.translate.actions import action, fails_over, used_pools
from gatewright_controller.translate.chains import SHADOW_DIGEST, attach, chain
from gatewright_controller.translate.pools import Pool, Pools
from gatewright_controller.translate.route_table import RoutedAnswer, RoutedOperation, RoutedPath, by_path
from gatewright_controller.translate.routes import Target, first_route, render_chosen_routes, render_routes
from gatewright_controller.translate.settings import EdgeSettings
from gatewright_controller.translate.shared_route import attached_table, share
from gatewright_controller.translate.timeouts import timeouts
from gatewright_controller.translate.upstream_paths import upstream_paths

REFERENCE = b'"secretRef"'


class Bundle(msgspec.Struct, frozen=True):
    """What nodes are sent of an API. digest: SHA-256, in hex, of the message without it: nodes acknowledge by it.
    content: the message, compressed, for there may be many. size: bytes of the message. policies: those that a node
    must have to run it: name, version, digest of the definition. nodes: the labels of those that are to run it.
    secrets: names of the Secrets whose values it needs."""

    api: str
    digest: str
    content: bytes
    size: int
    policies: frozenset[tuple[str, str, str]]
    nodes: Mapping[str, str] = msgspec.field(default_factory=dict)
    secrets: frozenset[str] = frozenset()

    @staticmethod
    def of(
        message: node_pb2.ApiBundle,
        policies: frozenset[tuple[str, str, str]] = frozenset(),
        nodes: Mapping[str, str] = MappingProxyType({}),
        secrets: frozenset[str] = frozenset(),
    ) -> Bundle:
        """Of a message that has its digest."""
        content = message.SerializeToString(deterministic=True)
        compressed = zlib.compress(content, 1)
        return Bundle(message.api, message.digest, compressed, len(content), _shared(policies), nodes, secrets)

    @property
    def serialized(self) -> bytes:
        """The message's bytes, which are decompressed each time."""
        return zlib.decompress(self.content)

    @property
    def message(self) -> node_pb2.ApiBundle:
        """It is made anew each time."""
        return node_pb2.ApiBundle.FromString(self.serialized)

    def unserved(self, reason: str) -> Bundle:
        """What a node is sent of the API that cannot run it as it is."""
        message = self.message
        places = message.hosts, message.listeners, message.attached_to
        bundle = unserved(self.api, message.context, message.version, reason, *places)
        return replace(bundle, nodes=self.nodes)


@lru_cache(maxsize=1000)
def _shared(policies: frozenset[tuple[str, str, str]]) -> frozenset[tuple[str, str, str]]:
    """An equal set that others have."""
    return policies


def unserved(
    api: str,
    context: str,
    version: str,
    reason: str,
    hosts: Sequence[str] = (),
    listeners: Sequence[str] = (),
    attached_to: Sequence[str] = (),
) -> Bundle:
    """An API that cannot be run, and why: where nothing else of it runs, a node answers 503 under the context."""
    message = node_pb2.ApiBundle(
        api=api,
        hosts=sorted(hosts),
        listeners=sorted(listeners),
        context=context,
        version=version,
        unserved=reason,
        attached_to=sorted(attached_to),
    )
    message.digest = _digest(message)
    return Bundle.of(message)


def _digest(message: node_pb2.ApiBundle) -> str:
    return hashlib.sha256(message.SerializeToString(deterministic=True)).hexdigest()


def translate(api: Api, definitions: Definitions, settings: EdgeSettings) -> Bundle:
    """The bundle of a valid API. Raises `UnknownPolicyError` if a policy has left the definitions since."""
    pools = Pools.of(api.spec.upstreams, settings, maps_paths=api.spec.map_upstream_paths)
    tried = Pools.of(api.spec.upstreams if _fails_over(api) else {}, settings, attempts=True)
    paths, target = routed_paths(api, definitions, settings, pools), _target(api, pools.pool, tried)
    if api.spec.attach_to:
        return _attached(api, paths, target)
    shared = share(paths, target)
    message = node_pb2.ApiBundle(
        api=api.metadata.name,
        hosts=sorted(api.spec.hosts),
        listeners=sorted(api.spec.listeners),
        context=context_of(api.spec.context, api.spec.version),
        version=api.spec.version,
        strict_paths=api.spec.strict_paths,
        first_route=b"" if shared else envoy.serialized(first_route(target)),
        routes=map(envoy.serialized, [shared.route] if shared else render_routes(paths, target)),
        chosen_routes=map(envoy.serialized, () if shared else render_chosen_routes(paths, target)),
        clusters=[envoy.serialized(cluster) for cluster in _clusters(api, pools, tried)],
        chains=_distinct(paths),
        operations=shared.table if shared else None,
    )
    message.digest = _digest(message)
    return Bundle.of(message, _policies(message), api.spec.nodes, _secrets(message))


def _attached(api: Api, paths: list[RoutedPath], target: Target) -> Bundle:
    """Of an API that routes of other Envoys name. The engine finds the operation; there are no routes and clusters."""
    message = node_pb2.ApiBundle(
        api=api.metadata.name,
        context=target.context,
        version=api.spec.version,
        strict_paths=api.spec.strict_paths,
        chains=_distinct(paths),
        operations=attached_table(paths, target),
        attached_to=sorted(api.spec.attach_to),
    )
    message.digest = _digest(message)
    return Bundle.of(message, _policies(message), api.spec.nodes, _secrets(message))


def _fails_over(api: Api) -> bool:
    return any(fails_over(api.spec, operation) for operation in api.spec.operations)


def _clusters(api: Api, pools: Pools, tried: Pools) -> list[envoy.EnvoyMessage]:
    """By the clusters' names."""
    clusters = (*pools.clusters(used_pools(api)), *tried.clusters(tried.pools))
    return sorted(clusters, key=envoy.name_of)


def _target(api: Api, pool: Callable[[str], Pool], tried: Pools) -> Target:
    spec = api.spec
    context = context_of(spec.context, spec.version)
    return Target(api.metadata.name, context, pool, spec.access_log, spec.strict_paths, tried=tried.pools)


def routed_paths(api: Api, definitions: Definitions, settings: EdgeSettings, pools: Pools) -> list[RoutedPath]:
    """The paths of a valid API with their operations, in the order of precedence: what its routes are rendered from."""
    shared = attach(api, "", api.spec.policies, definitions)
    groups = by_path(api.spec.operations)
    answered = [template for template, group in groups.items() if any(map(_answers_options, group))]

    def operation(written: Operation) -> RoutedOperation:
        name, made, path = operation_name(written), action(api.spec, written), parse_path(written.path)
        attachments = [*shared, *attach(api, name, written.policies, definitions)]
        failover = fails_over(api.spec, written)
        own = (
            chain(api, name, attachments, upstream_paths(api, path, made, pools), failover=failover)
            if attachments
            else None
        )
        times = timeouts(api, written, definitions, settings)
        return RoutedOperation(written.method, name, own, times, made, path, matches_of(written))

    def preflight(template: PathTemplate, path: str) -> RoutedAnswer | None:
        if any(other.covers(template) for other in answered):
            return None
        name = f"OPTIONS {path}"
        return RoutedAnswer(name, chain(api, name, shared) if shared else None)

    if api.spec.matching == "ordered":
        return [
            RoutedPath(parse_path(written.path).shape, [operation(written)], None, ordered=True)
            for written in api.spec.operations
        ]
    return [
        RoutedPath(template, [operation(written) for written in group], preflight(template, group[0].path))
        for template, group in groups.items()
    ]


def _answers_options(operation: Operation) -> bool:
    """Whether it does so for every request."""
    return operation.method in ("OPTIONS", ANY_METHOD) and not matches_of(operation)


def _distinct(paths: list[RoutedPath]) -> list[node_pb2.Chain]:
    """Chains in the order of their operations' names."""
    operations = (
        routed_operation
        for routed in paths
        for routed_operation in (*routed.operations, routed.preflight)
        if routed_operation and routed_operation.chain
    )
    chains = {
        routed_operation.chain.id: routed_operation.chain for routed_operation in operations if routed_operation.chain
    }
    return sorted(chains.values(), key=lambda chain: (chain.operation, chain.id))


def _secrets(message: node_pb2.ApiBundle) -> frozenset[str]:
    attachments = (attachment for chain in message.chains for attachment in chain.attachments)
    texts = (text for attachment in attachments for text in (attachment.parameters, attachment.system_parameters))
    return frozenset(secret for text in texts if REFERENCE in text for _, secret, _ in secrets_in(json.loads(text)))


def _policies(message: node_pb2.ApiBundle) -> frozenset[tuple[str, str, str]]:
    attachments = (attachment for chain in message.chains for attachment in chain.attachments)
    return frozenset(
        (attachment.policy_name, attachment.policy_version, attachment.definition_digest.removeprefix(SHADOW_DIGEST))
        for attachment in attachments
    )
