"""Envoy's listeners and certificates, with a small HTTP server of the tests' own in its place."""

from __future__ import annotations

import http.server
import json
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gatewright_cli.clients.envoy_admin import DAY, read_served

NOW = 1_800_000_000
EXPIRATION = "expiration_unix_time_seconds"


def listener(name: str, address: str, port: int) -> dict[str, Any]:
    return {"name": name, "local_address": {"socket_address": {"address": address, "port_value": port}}}


ANSWERS = {
    "/listeners": {
        "listener_statuses": [
            listener("http", "127.0.0.1", 80),
            listener("https", "::1", 443),
            {"name": "other", "local_address": {"pipe": {"path": "/x"}}},
        ]
    },
    "/stats": {
        "stats": [
            {"name": "listener.[__1]_443.ssl.handshake", "value": 3},
            {"name": f"listener.[__1]_443.ssl.certificate.certificate/web.{EXPIRATION}", "value": NOW + 3 * DAY + 5},
            {"name": f"listener.[__1]_444.ssl.certificate.certificate/web.{EXPIRATION}", "value": NOW + 2 * DAY},
            {"name": f"cluster.a|1.ssl.certificate.authority/inner.{EXPIRATION}", "value": NOW - 5},
            {"histograms": {}},
        ]
    },
}


@pytest.fixture
def envoy(tmp_path: Path) -> Iterator[Path]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(ANSWERS[self.path.partition("?")[0]]).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self) -> str:
            return "unix"

        def log_message(self, *_: object) -> None: ...

    with socketserver.ThreadingUnixStreamServer(str(tmp_path / "admin"), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield tmp_path / "admin"
        server.shutdown()


def test_listeners_with_their_urls_and_the_certificate_that_ends_first(envoy: Path) -> None:
    found = read_served(envoy, NOW)
    assert found is not None
    assert found.listeners == [
        {"name": "http", "url": "http://127.0.0.1:80"},
        {"name": "https", "url": "https://[::1]:443"},
    ]
    assert found.certificates == [
        {"kind": "authority", "name": "inner", "ends": "2027-01-15T07:59:55Z", "daysLeft": -1},
        {"kind": "certificate", "name": "web", "ends": "2027-01-17T08:00:00Z", "daysLeft": 2},
    ]


def test_without_envoy_nothing_is_known(tmp_path: Path) -> None:
    assert read_served(tmp_path / "admin", NOW) is None
