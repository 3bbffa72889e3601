"""What is measured: plain Envoy, and our gateway with the chains of a row. Each says what headers must arrive."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

Attachment = Mapping[str, object]


@dataclass(frozen=True)
class Row:
    """One row of the table.

    key: its name on the command line, its path prefix at the gateway and at the upstream.
    policies: the attachments of its API; None for peers, which have none.
    upstream: headers that each request must carry when it arrives there. client: the same for each answer.
    """

    key: str
    title: str
    policies: tuple[Attachment, ...] | None = ()
    upstream: Mapping[str, str] = field(default_factory=dict)
    client: Mapping[str, str] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        return f"/{self.key}"

    @property
    def path(self) -> str:
        return f"{self.prefix}/orders/4711"


PLAIN, NONE, GO, PYTHON = "plain", "no-policies", "go", "go-python-go"
GO_EXT_PROC, AIO_EXT_PROC, SYNC_EXT_PROC = "ext-proc-go", "ext-proc-aio", "ext-proc-sync"
PYVOY, AIOHTTP, FASTAPI, MITMPROXY = "pyvoy", "aiohttp", "fastapi", "mitmproxy"
PEER_HEADERS = {"X-Peer": "1"}
"""What every peer adds, in both directions."""


def add_headers(position: str) -> Attachment:
    """The Go policy, in both phases."""
    return {
        "name": "add-headers",
        "version": "v1",
        "params": {
            "requestHeaders": [{"name": f"X-Go-{position}", "value": "1"}],
            "responseHeaders": [{"name": f"X-Go-{position}", "value": "1"}],
        },
    }


def add_python_header() -> Attachment:
    """The Python policy, in both phases."""
    return {
        "name": "add-python-header",
        "version": "v1",
        "params": {"headerName": "X-Python-Policy", "headerValue": "1"},
    }


def peer(key: str, title: str) -> Row:
    """It sets one header each way."""
    return Row(key, title, None, PEER_HEADERS, PEER_HEADERS)


GO_HEADERS = {"X-Go-First": "1", "X-Go-Last": "1"}
ALL_HEADERS = {**GO_HEADERS, "X-Python-Policy": "1"}

ROWS = (
    Row(PLAIN, "plain Envoy", policies=None),
    Row(NONE, "gateway, API without policies"),
    Row(GO, "gateway, Go → Go", (add_headers("First"), add_headers("Last")), GO_HEADERS, GO_HEADERS),
    Row(
        PYTHON,
        "gateway, Go → Python → Go",
        (add_headers("First"), add_python_header(), add_headers("Last")),
        ALL_HEADERS,
        ALL_HEADERS,
    ),
    peer(GO_EXT_PROC, "Envoy, minimal Go ext_proc server"),
    peer(AIO_EXT_PROC, "Envoy, Python ext_proc server, grpc.aio"),
    peer(SYNC_EXT_PROC, "Envoy, Python ext_proc server, threads"),
    peer(PYVOY, "pyvoy: ASGI inside Envoy"),
    peer(AIOHTTP, "aiohttp reverse proxy"),
    peer(FASTAPI, "FastAPI + httpx reverse proxy"),
    peer(MITMPROXY, "mitmdump reverse proxy"),
)
"""Go → Go has both Go policies of the last row, so that the two differ by the Python one alone."""


def api(row: Row, upstream: str) -> dict[str, object]:
    """The row's API definition; `upstream` is HOST:PORT."""
    return {
        "apiVersion": "gatewright.dev/v1",
        "kind": "Api",
        "metadata": {"name": f"bench-{row.key}"},
        "spec": {
            "displayName": f"Bench: {row.title}",
            "version": "v1.0",
            "context": row.prefix,
            "upstream": {"main": {"url": f"http://{upstream}{row.prefix}"}},
            "policies": list(row.policies or ()),
            "operations": [{"method": "GET", "path": "/orders/{id}"}],
        },
    }


def write_apis(rows: tuple[Row, ...], upstream: str, folder: Path) -> None:
    """One file for each row that has an API, and no other from an earlier run. JSON is YAML."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for row in rows:
        if row.policies is not None:
            (folder / f"{row.key}.json").write_text(json.dumps(api(row, upstream), indent=2))


def write_expectations(rows: tuple[Row, ...], file: Path) -> None:
    """What the upstream must see, for `load upstream -expect`."""
    file.write_text(json.dumps({row.prefix: dict(row.upstream) for row in rows}, indent=2))
