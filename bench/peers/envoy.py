"""Plain Envoy, or Envoy with a peer's ext_proc server. Its bootstrap is the gateway's, without xDS and the gateway's
filters, so that all other settings are equal."""

from __future__ import annotations

import contextlib
import json
import string
from collections.abc import Iterator
from pathlib import Path
from typing import NotRequired, TypedDict

import yaml

from bench.peers.site import Site
from bench.processes import HOST, await_answer, free_port, program, running
from bench.target import ENVOY, Target

BOOTSTRAP = Path("gateway-runtime/envoy/bootstrap.yaml")
LISTENER = Path("gateway-runtime/envoy/listener.json")
CLUSTER, EXT_PROC_CLUSTER = "upstream", "gatewright_policy_engine"
ROUTER, EXT_PROC = "envoy.filters.http.router", "envoy.filters.http.ext_proc"
ENGINES_LOG = "envoy.access_loggers.http_grpc"
"""The access log by which a listener reports Envoy's own answers to the engine."""
LOG = "envoy.log"


class Filter(TypedDict):
    """An HTTP or network filter of Envoy, or an access log."""

    name: str
    typed_config: dict[str, object]
    disabled: NotRequired[bool]


@contextlib.contextmanager
def plain_envoy(site: Site) -> Iterator[Target]:
    """Envoy alone."""
    with envoy(site) as (port, pid):
        yield Target(port, lambda: {ENVOY: (pid,)}, site.folder / LOG)


@contextlib.contextmanager
def envoy(site: Site, ext_proc: Path | None = None) -> Iterator[tuple[int, int]]:
    """Runs Envoy with one static route to the upstream until it answers. Yields its port and its pid. ext_proc: the
    socket of a server that processes the headers of each request and each response."""
    port, log, config = free_port(), site.folder / LOG, site.folder / "envoy.json"
    document = bootstrap(BOOTSTRAP.read_text(), LISTENER.read_text(), port, site.row.prefix, site.upstream, ext_proc)
    config.write_text(json.dumps(document, indent=2))
    with running(command(config, site.settings.concurrency), log) as process:
        await_answer(port, site.row.path, process, log)
        yield port, process.pid


def command(config: Path, concurrency: int) -> list[str]:
    """The command by which the gateway's supervisor starts Envoy."""
    envoy = program("envoy", "`make setup` installs it")
    options = ["--disable-hot-restart", "--log-level", "warning", "--concurrency", str(concurrency)]
    return [envoy, "--config-path", str(config), *options]


def bootstrap(
    template: str, listener: str, port: int, prefix: str, upstream: str, ext_proc: Path | None = None
) -> dict[str, object]:
    """The template without xDS and admin, with the listener of a Gateway of defaults and a route for `prefix`. Of the
    listener's filters only the router and, if it has a socket, ext_proc remain."""
    fields = {"max_connections": "50000", "envoy_heap_bytes": str(1 << 30), "ext_proc_socket": str(ext_proc)}
    document = yaml.safe_load(string.Template(template).safe_substitute(fields))
    for gateway_only in ("admin", "dynamic_resources", "node"):
        del document[gateway_only]
    own = json.loads(listener.replace("/dev/stdout", "/dev/null"))
    own["address"] = {"socket_address": {"address": HOST, "port_value": port}}
    for chain in own["filter_chains"]:
        del chain["filters"][:-1]  # the filter that sets the listener's name, for routes that need it
        _route_statically(chain["filters"], prefix, [EXT_PROC, ROUTER] if ext_proc else [ROUTER])
    document["static_resources"]["listeners"] = [own]
    clusters = document["static_resources"]["clusters"]
    servers = [cluster for cluster in clusters if ext_proc and cluster["name"] == EXT_PROC_CLUSTER]
    document["static_resources"]["clusters"] = [_cluster(upstream), *servers]
    return dict(document)


def _route_statically(filters: list[Filter], prefix: str, kept_filters: list[str]) -> None:
    for network_filter in filters:
        manager = network_filter["typed_config"]
        del manager["rds"]
        manager.pop("early_header_mutation_extensions", None)  # work of the gateway, which no peer does
        manager["access_log"] = [log for log in _listed(manager, "access_log") if log["name"] != ENGINES_LOG]
        route = {"match": {"prefix": prefix}, "route": {"cluster": CLUSTER}}
        manager["route_config"] = {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]}
        inner = [filter_ for filter_ in _listed(manager, "http_filters") if filter_["name"] in kept_filters]
        for filter_ in inner:
            if filter_["name"] == EXT_PROC:
                _enable(filter_)
        manager["http_filters"] = inner


def _enable(ext_proc: Filter) -> None:
    """Enables ext_proc for all routes and only for headers: a peer needs no attributes and sends no metadata."""
    ext_proc.pop("disabled", None)
    settings = ext_proc["typed_config"]
    for engine_only in ("request_attributes", "metadata_options"):
        del settings[engine_only]
    modes = settings["processing_mode"]
    settings["processing_mode"] = {**(modes if isinstance(modes, dict) else {}), "response_header_mode": "SEND"}


def _listed(manager: dict[str, object], member: str) -> list[Filter]:
    entries = manager[member]
    return entries if isinstance(entries, list) else []


def _cluster(upstream: str) -> dict[str, object]:
    host, _, port = upstream.rpartition(":")
    endpoint = {"endpoint": {"address": {"socket_address": {"address": host, "port_value": int(port)}}}}
    return {
        "name": CLUSTER,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": CLUSTER, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
