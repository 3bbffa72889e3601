"""h2spec against a listener with TLS, and against plain Envoy with the same certificate: `make h2spec-test`.

Not named test_*.py: it builds h2spec from the Go module proxy, and takes some minutes.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree as Xml

import httpx
import pytest

from e2e.kit.gateway import Gateway, api, attach, eventually
from e2e.kit.listening import free_port
from e2e.kit.lone_envoy import cluster
from e2e.kit.pebble import program
from e2e.kit.places import ROOT
from e2e.kit.secured import TlsListener, add_tls_listener
from e2e.kit.upstream import Upstream

EXTENSIONS = "type.googleapis.com/envoy.extensions"
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
"""Characters that h2spec writes into its report, and that XML does not allow."""

KNOWN = ROOT / "e2e" / "edge" / "testdata" / "h2spec-envoy-1.40.txt"
"""The cases that plain Envoy fails, one on each line."""


@pytest.fixture(scope="module")
def h2spec() -> Path:
    """The program, of the versions in e2e/kit/programs/h2spec/go.sum."""
    return Path(program("h2spec"))


@pytest.fixture(scope="module")
def tls(shared_gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsListener]:
    with add_tls_listener(shared_gateway, tmp_path_factory.mktemp("tls")) as listener:
        yield listener


def failing_cases(h2spec: Path, port: int, path: str, folder: Path) -> tuple[set[str], int]:
    """The cases that fail twice, as SECTION: WHAT, and how many there are in all. A case that waits may fail once."""
    first, count = run_h2spec(h2spec, port, path, folder)
    again, _ = run_h2spec(h2spec, port, path, folder)
    return first & again, count


def run_h2spec(h2spec: Path, port: int, path: str, folder: Path) -> tuple[set[str], int]:
    """The failing cases of one run, and the number of all cases."""
    report = folder / f"{port}.xml"
    command = [str(h2spec), "-t", "-k", "-S", "-p", str(port), "-P", path, "-o", "2", "-j", str(report)]
    subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    text = CONTROL.sub("", report.read_text(errors="replace"))
    cases = list(Xml.fromstring(text).iter("testcase"))  # noqa: S314 - our own program's
    bad = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    return {f"{case.get('package')}: {case.get('classname')}" for case in bad}, len(cases)


@contextmanager
def plain_envoy(tls: TlsListener, upstream: Upstream) -> Iterator[int]:
    """An Envoy with nothing but a certificate, a route and a cluster, and its defaults. Its port."""
    port = free_port()
    pair = {
        "certificate_chain": {"filename": str(tls.signer.folder / "own.pem")},
        "private_key": {"filename": str(tls.signer.folder / "own.key")},
    }
    manager = {
        "@type": f"{EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "plain",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}],
                }
            ]
        },
        "http_filters": [{"name": "router", "typed_config": {"@type": f"{EXTENSIONS}.filters.http.router.v3.Router"}}],
    }
    context = {
        "@type": f"{EXTENSIONS}.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {"alpn_protocols": ["h2", "http/1.1"], "tls_certificates": [pair]},
    }
    listener = {
        "name": "plain",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [
            {
                "filters": [{"name": "http", "typed_config": manager}],
                "transport_socket": {"name": "tls", "typed_config": context},
            }
        ],
    }
    config = {
        "static_resources": {"listeners": [listener], "clusters": [cluster("upstream", upstream.port)]},
    }
    with tempfile.TemporaryDirectory(prefix="gw-") as folder:
        file = Path(folder) / "envoy.json"
        file.write_text(json.dumps(config))
        command = ["envoy", "-c", str(file), "--concurrency", "1", "--use-dynamic-base-id", "--log-level", "error"]
        with subprocess.Popen(command) as process:
            try:
                eventually("plain Envoy answers", lambda: answers(tls, port), 20)
                yield port
            finally:
                process.kill()


def answers(tls: TlsListener, port: int) -> bool:
    try:
        return httpx.get(f"https://127.0.0.1:{port}/x", verify=tls.trust).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("policies", [0, 1])
def test_no_case_fails_that_plain_envoy_passes(
    h2spec: Path, tls: TlsListener, recording_upstream: Upstream, tmp_path: Path, policies: int
) -> None:
    document = api("h2spec", recording_upstream.url, [attach("mark", {"name": "m"})] * policies)
    tls.gateway.deploy(document)
    ours, count = failing_cases(h2spec, tls.port, "/h2spec/x", tmp_path)
    with plain_envoy(tls, recording_upstream) as port:
        plain, _ = failing_cases(h2spec, port, "/x", tmp_path)
    print(f"\n{count} cases; ours fails {len(ours)}, plain Envoy {len(plain)}")
    assert count >= 140
    assert sorted(ours - plain) == []
    assert sorted(plain) == KNOWN.read_text().splitlines()
