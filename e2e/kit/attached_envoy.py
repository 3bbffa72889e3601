"""An Envoy that others configure: a plain static bootstrap without xDS, to which tests add what the guide says."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from string import Template

import yaml

from e2e.kit.gateway import Json
from e2e.kit.lone_envoy import LoneEnvoy, cluster

BOOTSTRAP = """
static_resources:
  listeners:
    - name: web
      address: {socket_address: {address: 127.0.0.1, port_value: 0}}
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": $manager
                stat_prefix: web
                route_config:
                  virtual_hosts:
                    - name: everything
                      domains: ["*"]
                      routes:
                        - {name: shop, match: {prefix: /shop/}, route: {cluster: shop, prefix_rewrite: /}}
                        - {name: web/orders/0, match: {prefix: /orders/}, route: {cluster: shop}}
                        - {name: stranger, match: {prefix: /stranger/}, route: {cluster: shop}}
                        - {match: {prefix: /}, route: {cluster: shop}}
                http_filters:
                  - name: envoy.filters.http.router
                    typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
"""


MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


def foreign_bootstrap(directory: Path, upstream_port: int) -> Json:
    """What is there before anything is attached: routes to an upstream, and no engine."""
    document: Json = yaml.safe_load(Template(BOOTSTRAP).substitute(manager=f"type.googleapis.com/{MANAGER}"))
    document["admin"] = {"address": {"pipe": {"path": str(directory / "admin")}}}
    document["static_resources"]["clusters"] = [cluster("shop", upstream_port)]
    return document


def connection_manager(config: Json) -> Json:
    document: Json = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    return document


def ext_proc_of(config: Json) -> Json:
    document: Json = connection_manager(config)["http_filters"][0]["typed_config"]
    return document


def printed(*options: str) -> list[Json]:
    """The documents that `gatewright attach` prints."""
    command = ["gatewright", "attach", *options]
    text = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    return list(yaml.safe_load_all(text))


def add_engine(config: Json, engine: str, *options: str) -> None:
    """Adds the filter and the cluster. engine: HOST:PORT."""
    (parts,) = printed("--print", "envoy", "--route", "shop", "--engine", engine, *options)
    connection_manager(config)["http_filters"][:0] = parts["http_filters"]
    config["static_resources"]["clusters"] += parts["clusters"]


@contextmanager
def run_envoy(directory: Path, config: Json, program: str = "envoy") -> Iterator[LoneEnvoy]:
    envoy = LoneEnvoy(directory, config, program)
    try:
        yield envoy.wait_ready()
    finally:
        envoy.stop()


@contextmanager
def attached_envoy(
    upstream_port: int,
    engine: int | str,
    change: Callable[[Json], None] = lambda _: None,
    *,
    options: Sequence[str] = (),
    program: str = "envoy",
) -> Iterator[LoneEnvoy]:
    """Runs it with an engine, at a port or HOST:PORT; `change` may change the configuration. options: of `attach`."""
    with tempfile.TemporaryDirectory(prefix="gw-") as name:
        config = foreign_bootstrap(Path(name), upstream_port)
        add_engine(config, engine if isinstance(engine, str) else f"127.0.0.1:{engine}", *options)
        change(config)
        with run_envoy(Path(name), config, program) as envoy:
            yield envoy
