"""Which target a request goes to."""

from __future__ import annotations

from typing import cast

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.load_balancing_policies.ring_hash.v3 import ring_hash_pb2

from gatewright_controller.model import HashOn, LoadBalancing, milliseconds
from gatewright_controller.translate.envoy.common import EnvoyMessage, duration, packed_any

MERGE_MS = 100
"""In which changes of targets' health become one for the workers. Envoy's 1 s is a second of failed requests."""

ALGORITHMS = {
    "roundRobin": cluster_pb2.Cluster.ROUND_ROBIN,
    "leastRequest": cluster_pb2.Cluster.LEAST_REQUEST,
    "random": cluster_pb2.Cluster.RANDOM,
}


def balance(built: cluster_pb2.Cluster, balancing: LoadBalancing, *, zoned: bool) -> None:
    """Never over what is known to be down: Envoy's default of 50 % gives all targets requests once half are."""
    built.common_lb_config.healthy_panic_threshold.SetInParent()
    built.common_lb_config.update_merge_window.CopyFrom(duration(MERGE_MS))
    if balancing.algorithm != "ringHash" or not balancing.hash_on:
        built.lb_policy = ALGORITHMS[balancing.algorithm]
        if zoned:
            built.common_lb_config.locality_weighted_lb_config.SetInParent()
        return
    ring = ring_hash_pb2.RingHash()
    ring.consistent_hashing_lb_config.hash_policy.append(_hash_on(balancing.hash_on))
    if zoned:
        ring.locality_weighted_lb_config.SetInParent()
    policy = built.load_balancing_policy.policies.add().typed_extension_config
    policy.name = "envoy.load_balancing_policies.ring_hash"
    policy.typed_config.CopyFrom(packed_any(cast("EnvoyMessage", ring)))


def _hash_on(hash_on: HashOn) -> EnvoyMessage:
    """With the cluster, so that any route to it, and a policy's choice, spreads requests alike."""
    policy = route_components_pb2.RouteAction.HashPolicy()
    if hash_on.header:
        policy.header.header_name = hash_on.header
    elif hash_on.cookie:
        policy.cookie.name = hash_on.cookie
        if hash_on.cookie_ttl:
            policy.cookie.ttl.CopyFrom(duration(milliseconds(hash_on.cookie_ttl)))
            policy.cookie.path = "/"
    else:
        policy.connection_properties.source_ip = True
    return cast("EnvoyMessage", policy)
