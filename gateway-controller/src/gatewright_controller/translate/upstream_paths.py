"""What becomes of a path upstream, for policies that are to know: as routes rewrite it (forwarding.py)."""

from __future__ import annotations

from gatewright_controller._gen import node_pb2
from gatewright_controller.model import Api, Rewrite
from gatewright_controller.resource.paths import PathTemplate, context_of
from gatewright_controller.translate.actions import Action, Forwarding
from gatewright_controller.translate.pools import Pools
from gatewright_controller.translate.rewrites import upstream_base, upstream_path


def upstream_paths(api: Api, path: PathTemplate, action: Action, pools: Pools) -> list[node_pb2.UpstreamPath]:
    """Of an operation: by the pools that its policies may choose, behind that of its own pools where these agree."""
    if not isinstance(action, Forwarding) or api.spec.attach_to:
        return []
    context = context_of(api.spec.context, api.spec.version)
    names = sorted(api.spec.upstreams)
    found = {name: _path_to(context, pools.pool(name).base, path, action.rewrite) for name in names}
    ways = [found[name] for name, _ in action.pools if isinstance(name, str)]
    own = ways[:1] if all(other == ways[0] for other in ways) else []
    chosen = [node_pb2.UpstreamPath(upstream=name) for name in found if api.spec.policies_choose_upstream]
    for message in chosen:
        message.MergeFrom(found[message.upstream])
    return [*own, *chosen]


def _path_to(context: str, base: str, path: PathTemplate, rewrite: Rewrite) -> node_pb2.UpstreamPath:
    """To a pool with this base path."""
    if (found := upstream_base(base, rewrite)) is not None:
        return node_pb2.UpstreamPath(base=found)
    substitution = upstream_path(context, base, path, rewrite)
    pattern, text = substitution or ("", "")
    return node_pb2.UpstreamPath(pattern=pattern, substitution=text)
