"""Envoy's listeners and certificates, with a small HTTP server of the tests' own in its place."""

from __future__ import annotations

import asyncio
import http.server
import json
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gatewright_cli.clients.envoy_admin import DAY, EnvoyAdmin, EnvoyRefusedError, read_served

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


LOGGERS = b"active loggers:\n  http: warning\n  upstream: warning\n"


@pytest.fixture
def posted() -> list[str]:
    """The paths of all POST requests."""
    return []


@pytest.fixture
def envoy(tmp_path: Path, posted: list[str]) -> Iterator[Path]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(200, json.dumps(ANSWERS[self.path.partition("?")[0]]).encode())

        def do_POST(self) -> None:
            posted.append(self.path)
            self.answer(400 if "unknown" in self.path else 200, LOGGERS)

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
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


def test_the_level_of_all_loggers_is_set_before_those_of_parts(envoy: Path, posted: list[str]) -> None:
    asyncio.run(EnvoyAdmin(envoy).set_log_level("info", [("http", "debug")]))
    assert posted == ["/logging?level=info", "/logging?http=debug"]


def test_a_part_that_envoy_does_not_have_is_refused_with_those_that_it_has(envoy: Path) -> None:
    with pytest.raises(EnvoyRefusedError, match="Envoy knows no such part; it has http, upstream"):
        asyncio.run(EnvoyAdmin(envoy).set_log_level("info", [("unknown", "debug")]))


def test_log_files_are_opened_again(envoy: Path, posted: list[str]) -> None:
    assert asyncio.run(EnvoyAdmin(envoy).reopen_logs())
    assert posted == ["/reopen_logs"]
