"""What APIs may name of the Gateways that their nodes have: listeners, authorities, certificates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Set

import msgspec
from gatewright_documents.mistake import Mistake, format_path
from gatewright_documents.values import JsonObject
from msgspec import UNSET
from msgspec.structs import replace

from gatewright_controller.model import Api, GatewaySpec, UpstreamTls, gateway_from_document
from gatewright_controller.model.node_gateway import gateway_of
from gatewright_controller.resource.node_gateways import THE_GATEWAY, Placed, possible_for
from gatewright_controller.validation.listeners import GatewayNames
from gatewright_controller.validation.values import as_object


class KnownGateways(msgspec.Struct, frozen=True):
    """names: what each names, by the name of the NodeGateway; of `THE_GATEWAY` only where there is one. placed: the
    labels of the NodeGateways' nodes."""

    names: Mapping[str, GatewayNames] = msgspec.field(default_factory=dict)
    placed: Placed = msgspec.field(default_factory=dict)

    def with_default(self, names: GatewayNames | None) -> KnownGateways:
        """The same with a Gateway that has these names; None: there is none."""
        others = {name: found for name, found in self.names.items() if name != THE_GATEWAY}
        return replace(self, names={**others, **({THE_GATEWAY: names} if names else {})})

    def with_node_gateways(self, documents: Mapping[str, JsonObject | None]) -> KnownGateways:
        """The same with these NodeGateways in their places, by name; None: there is none any more."""
        names = {name: found for name, found in self.names.items() if name not in documents}
        placed = {name: labels for name, labels in self.placed.items() if name not in documents}
        for name, document in documents.items():
            if document:
                names[name], placed[name] = names_in(gateway_of(document)), document["spec"]["nodes"]
        return KnownGateways(names, placed)

    def names_for(self, nodes: Mapping[str, str]) -> GatewayNames | None:
        """What an API for nodes with these labels may name: what all Gateways name that such nodes may have. None where
        none is known."""
        known = [self.names[name] for name in possible_for(nodes, self.placed) if name in self.names]
        if not known:
            return None
        certificates, authorities, listeners = (
            set[str].intersection(*(set(getattr(names, part)) for names in known))
            for part in ("certificates", "authorities", "listeners")
        )
        return GatewayNames(certificates, authorities, sorted(listeners))

    def names_of(self, document: JsonObject) -> GatewayNames | None:
        """As `names_for`, of what a document says, which may be wrong anywhere."""
        nodes = as_object(as_object(document.get("spec")).get("nodes"))
        return self.names_for({key: value for key, value in nodes.items() if isinstance(value, str)})

    def unnamed(self, apis: Iterable[Api]) -> Iterator[Mistake]:
        """What APIs name, and a Gateway does not that their nodes may have."""
        for api in apis:
            for name in possible_for(api.spec.nodes, self.placed):
                if name in self.names:
                    yield from _unnamed_by(self.names[name], name, api)

    def newly_unnamed(self, before: KnownGateways, apis: Iterable[Api]) -> list[Mistake]:
        """As `unnamed`, without what was so before."""
        apis = list(apis)
        known: Set[Mistake] = set(before.unnamed(apis))
        return [mistake for mistake in self.unnamed(apis) if mistake not in known]


class GatewaysInUse(msgspec.Struct):
    """What there is now. default: what the Gateway names, None where there is none. node_gateways: those alone."""

    default: Callable[[], GatewayNames | None] = lambda: None
    node_gateways: KnownGateways = msgspec.field(default_factory=KnownGateways)

    @property
    def known(self) -> KnownGateways:
        """All that nodes may have."""
        return self.node_gateways.with_default(self.default())


def names_in(document: JsonObject) -> GatewayNames:
    """What the Gateway that a document says names."""
    spec = gateway_from_document(document).spec
    return GatewayNames(spec.certificates or {}, spec.authorities or {}, _serving_listeners(spec))


def _serving_listeners(spec: GatewaySpec) -> list[str]:
    """Names of the listeners that serve APIs; the others redirect."""
    return [listener.name for listener in spec.listeners if not listener.redirect]


def _unnamed_by(names: GatewayNames, gateway: str, api: Api) -> Iterator[Mistake]:
    owner = f" in the NodeGateway {gateway}" if gateway else ""
    others = ", or give the API other nodes (spec.nodes)" if gateway else ""
    cure = f"keep it, or change the API first{others}"
    for listener in api.spec.listeners:
        if listener not in names.listeners:
            expected = f"a listener {listener!r} that serves APIs{owner}, which the API {api.metadata.name} names"
            yield Mistake.expecting(expected, "none", cure, field="spec.listeners")
    for pool, upstream in api.spec.upstreams.items():
        tls = upstream.tls if isinstance(upstream.tls, UpstreamTls) else UpstreamTls()
        for part, name, known in (
            ("authorities", tls.authority, names.authorities),
            ("certificates", tls.client_certificate, names.certificates),
        ):
            if name is not UNSET and name not in known:
                expected = f"{name!r}{owner}, which the upstream {pool} of the API {api.metadata.name} names"
                yield Mistake.expecting(expected, "none", cure, field=format_path(["spec", part]))
