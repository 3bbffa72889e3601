"""An Envoy with the listeners of a Gateway, as the controller renders them, and nothing else of a node: behind them is
one upstream, and their certificates come from files."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import yaml

from e2e.kit.gateway import Json, eventually
from e2e.kit.listening import accepts
from e2e.kit.lone_envoy import BOOTSTRAP, cluster

TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"


class LoneListeners:
    """A running Envoy. Ports of its listeners by their names, its access log, its counters."""

    def __init__(self, directory: Path, config: Json) -> None:
        self._directory, self._admin = directory, directory / "admin"
        self.access_log = directory / "access.log"
        file = directory / "envoy.json"
        file.write_text(json.dumps(config))
        command = ["envoy", "-c", str(file), "--concurrency", "1", "--use-dynamic-base-id", "--log-level", "error"]
        with self.access_log.open("wb") as stdout:
            self._process = subprocess.Popen([*command, "--file-flush-interval-msec", "20"], stdout=stdout)

    def admin(self, path: str) -> httpx.Response:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(self._admin)), base_url="http://admin") as client:
            return client.get(path)

    def wait_ready(self) -> LoneListeners:
        eventually("Envoy is ready", self._answers, 20)
        statuses = self.admin("/listeners?format=json").json()["listener_statuses"]
        self.ports = {
            listener["name"]: listener["local_address"]["socket_address"]["port_value"] for listener in statuses
        }
        return self

    def _answers(self) -> bool:
        assert self._process.poll() is None, "Envoy has ended: see its words above"
        return accepts(self._admin) and self.admin("/ready").status_code == 200

    def stat(self, name: str) -> int:
        lines = self.admin(f"/stats?filter={name}").text.splitlines()
        return sum(int(line.rsplit(" ", 1)[1]) for line in lines)

    def lines(self) -> list[str]:
        """The lines of the access log on stdout."""
        return self.access_log.read_text().splitlines()

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def lone_listeners(
    spec: Json,
    upstream: int,
    certificates: Mapping[str, tuple[Path, Path]] | None = None,
    change: Callable[[Json], None] = lambda _: None,
    **authorities: Path,
) -> Iterator[LoneListeners]:
    """Envoy with the listeners of a Gateway of this spec, each on a free port.

    upstream: where all requests go. certificates: by name, the files of certificate and key. change: makes a printed
    listener another, as where a test would wait for minutes. authorities: by name.
    """
    with tempfile.TemporaryDirectory(prefix="gw-") as name:
        directory = Path(name)
        written: Json = {"apiVersion": "gatewright.dev/v1", "kind": "Gateway", "spec": {**spec}}
        pairs = (certificates or {}).items()
        written["spec"]["certificates"] = {
            name: {"certificateFile": str(chain), "keyFile": str(key)} for name, (chain, key) in pairs
        }
        written["spec"]["authorities"] = {name: {"file": str(file)} for name, file in authorities.items()}
        printed = _print(written, directory)
        for listener in printed["listeners"]:
            change(listener)
        secrets = {name: _write_secret(name, secret, directory) for name, secret in printed["secrets"].items()}
        listeners = [_detach(listener, secrets) for listener in printed["listeners"]]
        envoy = LoneListeners(directory, _config(directory, listeners, upstream))
        try:
            yield envoy.wait_ready()
        finally:
            envoy.stop()


def _print(gateway: Json, directory: Path) -> Json:
    """The listeners that Envoy is given for a Gateway, and the secrets that these name."""
    file = directory / "gateway.json"
    file.write_text(json.dumps(gateway))
    command = [sys.executable, "-m", "gatewright_controller", "--print-listeners", str(file)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr
    printed: Json = json.loads(result.stdout)
    return printed


def _config(directory: Path, listeners: list[Json], upstream: int) -> Json:
    return {
        "admin": {"address": {"pipe": {"path": str(directory / "admin")}}},
        "node": {"id": "lone", "cluster": "lone"},
        "layered_runtime": yaml.safe_load(BOOTSTRAP.read_text())["layered_runtime"],  # of a node
        "static_resources": {
            "listeners": listeners,
            "clusters": [cluster("upstream", upstream), cluster("gatewright_policy_engine", 9)],
        },
    }


def _write_secret(name: str, content: Json, directory: Path) -> Path:
    """Writes a secret that the engine would serve by SDS into a file."""
    file = directory / f"{name.replace('/', '-')}.json"
    file.write_text(json.dumps({"resources": [{"@type": f"{TLS}.Secret", "name": name, **content}]}))
    return file


def _detach(value: Json, secrets: Mapping[str, Path]) -> Json:
    """The listener on a free port, with one route, and with files in the place of the engine."""
    value["address"]["socket_address"]["port_value"] = 0
    for chain in value["filter_chains"]:
        manager = chain["filters"][-1]["typed_config"]
        if manager.pop("rds", None):
            route = {"name": "all", "match": {"prefix": "/"}, "route": {"cluster": "upstream"}}
            hosts = [{"name": "all", "domains": ["*"], "routes": [route]}]
            manager["route_config"] = {"name": "lone", "virtual_hosts": hosts}
    _read_secrets_from_files(value, secrets)
    return value


def _read_secrets_from_files(value: object, secrets: Mapping[str, Path]) -> None:
    if isinstance(value, dict):
        if "sds_config" in value:
            value["sds_config"] = {"path_config_source": {"path": str(secrets[value["name"]])}}
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            _read_secrets_from_files(item, secrets)
