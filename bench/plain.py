"""Plain Envoy: the gateway's own bootstrap without what makes it a gateway, so that all other settings are equal."""

from __future__ import annotations

import contextlib
import json
import string
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

import yaml

from bench.processes import HOST, await_answer, free_port, program, running
from bench.rows import Row
from bench.settings import Settings
from bench.target import ENVOY, Target

BOOTSTRAP = Path("gateway-runtime/envoy/bootstrap.yaml")
CLUSTER = "upstream"


class Filter(TypedDict):
    """An HTTP or network filter of Envoy."""

    name: str
    typed_config: dict[str, object]


@contextlib.contextmanager
def plain_envoy(settings: Settings, row: Row, upstream: str, folder: Path) -> Iterator[Target]:
    """Runs Envoy with one static route to the upstream (HOST:PORT)."""
    port, log, config = free_port(), folder / "envoy.log", folder / "plain-envoy.json"
    config.write_text(json.dumps(bootstrap(BOOTSTRAP.read_text(), port, row.prefix, upstream), indent=2))
    with running(command(config, settings.concurrency), log) as process:
        await_answer(port, row.path, process, log)
        yield Target(port, lambda: {ENVOY: (process.pid,)}, log)


def command(config: Path, concurrency: int) -> list[str]:
    """As the gateway's supervisor starts it."""
    envoy = program("envoy", "`make setup` installs it")
    options = ["--disable-hot-restart", "--log-level", "warning", "--concurrency", str(concurrency)]
    return [envoy, "--config-path", str(config), *options]


def bootstrap(template: str, port: int, prefix: str, upstream: str) -> dict[str, object]:
    """The template without ext_proc, xDS and admin; with a route for `prefix`, and its cluster, instead."""
    fields = {"host": HOST, "port": str(port), "access_log": "/dev/null"}
    found = yaml.safe_load(string.Template(template).safe_substitute(fields))
    for gateway_only in ("admin", "dynamic_resources", "node"):
        del found[gateway_only]
    for listener in found["static_resources"]["listeners"]:
        for chain in listener["filter_chains"]:
            _route_statically(chain["filters"], prefix)
    found["static_resources"]["clusters"] = [_cluster(upstream)]
    return dict(found)


def _route_statically(filters: list[Filter], prefix: str) -> None:
    for each in filters:
        manager = each["typed_config"]
        del manager["rds"]
        manager["route_config"] = {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": prefix}, "route": {"cluster": CLUSTER}}],
                }
            ]
        }
        manager["http_filters"] = [inner for inner in _filters(manager) if inner["name"] == "envoy.filters.http.router"]


def _filters(manager: dict[str, object]) -> list[Filter]:
    listed = manager["http_filters"]
    return listed if isinstance(listed, list) else []


def _cluster(upstream: str) -> dict[str, object]:
    host, _, port = upstream.rpartition(":")
    endpoint = {"endpoint": {"address": {"socket_address": {"address": host, "port_value": int(port)}}}}
    return {
        "name": CLUSTER,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": CLUSTER, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
