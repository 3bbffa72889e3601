"""The measured rows: our gateway with a chain of policies, and peers. Each names the headers that must arrive."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

Attachment = Mapping[str, object]
Headers = Mapping[str, str]
COUNTS = (1, 16, 64, 256)
"""The default numbers of connections."""
ORDER, ORDERS = "/orders/4711", "/orders/{id}"
"""The path below a row's prefix unless it has another, and that of its operation."""


@dataclass(frozen=True)
class Row:
    """One row of the table.

    key: its name on the command line, its path prefix at the gateway and at the upstream.
    policies: the attachments of its API; None for peers, which have none.
    upstream: headers that each request must have at the upstream. client: headers that each answer must have.
    body: bytes of each request's body; 0: a GET without one. text: the body itself.
    connections: the numbers at which it is measured, since all rows at all of COUNTS would take an hour.
    revision: the commit whose gateway serves it; "" for this tree's.
    engine: where its gateway's engine runs, as `gatewright run --engine` names it; "" for the default.
    sent: headers of each request, which add to or replace those that all rows have.
    resource: the path below the prefix.
    events: the number of events of each answer, which is then an event stream. mark: the end of each event's data.
    """

    key: str
    title: str
    policies: tuple[Attachment, ...] | None = ()
    upstream: Headers = field(default_factory=dict)
    client: Headers = field(default_factory=dict)
    body: int = 0
    connections: tuple[int, ...] = COUNTS
    revision: str = ""
    engine: str = ""
    events: int = 0
    mark: str = ""
    sent: Headers = field(default_factory=dict)
    text: str = ""
    resource: str = ORDER

    @property
    def prefix(self) -> str:
        return f"/{self.key}"

    @property
    def path(self) -> str:
        query = f"?events={self.events}&every={EVENTS_APART}" if self.events else ""
        return f"{self.prefix}{self.resource}{query}"

    @property
    def method(self) -> str:
        return "POST" if self.body or self.text else "GET"


PLAIN, NONE, GO, PYTHON = "plain", "no-policies", "go", "go-python-go"
PYTHON_1, PYTHON_2, PYTHON_5 = "python-1", "python-2", "python-5"
BODY_GO, BODY_PYTHON = "body-go", "body-python"
LARGE_BODY_GO, LARGE_BODY_PYTHON = "body-1mb-go", "body-1mb-python"
EVENTS_NONE, EVENTS_GO, EVENTS_PYTHON = "events-no-policies", "events-go", "events-python"
GO_EXT_PROC, AIO_EXT_PROC, SYNC_EXT_PROC = "ext-proc-go", "ext-proc-aio", "ext-proc-sync"
NAIVE, PYVOY, AIOHTTP, FASTAPI, MITMPROXY = "naive", "pyvoy", "aiohttp", "fastapi", "mitmproxy"
BODY_BYTES, LARGE_BODY_BYTES = 10_000, 1_000_000
EVENTS, EVENTS_APART = 20, "2ms"
"""The number of an event stream's events, and the time between them, which keeps them in chunks of their own."""


def add_headers(position: str) -> Attachment:
    """The Go policy, which sets a header in both phases."""
    return {
        "name": "add-headers",
        "version": "v1",
        "params": {
            "requestHeaders": [{"name": f"X-Go-{position}", "value": "1"}],
            "responseHeaders": [{"name": f"X-Go-{position}", "value": "1"}],
        },
    }


def add_python_header(name: str = "X-Python-Policy") -> Attachment:
    """The Python policy, which sets a header in both phases."""
    return {"name": "add-python-header", "version": "v1", "params": {"headerName": name, "headerValue": "1"}}


def python_chain(key: str, length: int) -> Row:
    """A row with so many Python policies and no others."""
    headers = {f"X-Python-{number}": "1" for number in range(1, length + 1)}
    title = f"gateway, {length} Python {'policies' if length > 1 else 'policy'}"
    return Row(key, title, tuple(map(add_python_header, headers)), headers, headers, connections=(64,))


def body_row(key: str, title: str, policy: str, size: int = BODY_BYTES, connections: tuple[int, ...] = (1, 64)) -> Row:
    """A row with bodies. Policy and upstream each report the number of bytes that they received."""
    headers = {"X-Body-Length": "told", "X-Received-Bytes": str(size)}
    attached: Attachment = {"name": policy, "version": "v1"}
    return Row(key, title, (attached,), {"X-Body-Length": str(size)}, headers, size, connections)


def events_row(key: str, subject: str, *policies: str) -> Row:
    """A row with event streams. The policy replaces the mark of each event."""
    attached = tuple({"name": policy, "version": "v1"} for policy in policies)
    title = f"gateway, {subject}, {EVENTS} events"
    return Row(key, title, attached, connections=(64,), events=EVENTS, mark="#" if policies else "~")


def peer(key: str, title: str, connections: tuple[int, ...]) -> Row:
    """The row of a peer that sets one header in each direction."""
    return Row(key, title, None, {"X-Peer": "1"}, {"X-Peer": "1"}, connections=connections)


GO_HEADERS = {"X-Go-First": "1", "X-Go-Last": "1"}
ALL_HEADERS = {**GO_HEADERS, "X-Python-Policy": "1"}
BETWEEN = (add_headers("First"), add_python_header(), add_headers("Last"))

ROWS = (
    Row(PLAIN, "plain Envoy", policies=None),
    Row(NONE, "gateway, API without policies"),
    Row(GO, "gateway, Go → Go", (BETWEEN[0], BETWEEN[-1]), GO_HEADERS, GO_HEADERS),
    Row(PYTHON, "gateway, Go → Python → Go", BETWEEN, ALL_HEADERS, ALL_HEADERS),
    python_chain(PYTHON_1, 1),
    python_chain(PYTHON_2, 2),
    python_chain(PYTHON_5, 5),
    body_row(BODY_GO, "gateway, Go policy that reads a 10 KB body", "body-length-go"),
    body_row(BODY_PYTHON, "gateway, Python policy that reads a 10 KB body", "body-length"),
    body_row(LARGE_BODY_GO, "gateway, Go policy that reads a 1 MB body", "body-length-go", LARGE_BODY_BYTES, (16,)),
    body_row(
        LARGE_BODY_PYTHON, "gateway, Python policy that reads a 1 MB body", "body-length", LARGE_BODY_BYTES, (16,)
    ),
    events_row(EVENTS_NONE, "API without policies"),
    events_row(EVENTS_GO, "Go policy that streams", "mark-stream-go"),
    events_row(EVENTS_PYTHON, "Python policy that streams", "mark-stream"),
    peer(GO_EXT_PROC, "Envoy, minimal Go ext_proc server", COUNTS),
    peer(AIO_EXT_PROC, "Envoy, Python ext_proc server, grpc.aio", COUNTS),
    peer(SYNC_EXT_PROC, "Envoy, Python ext_proc server, threads", (64,)),
    Row(NAIVE, "Envoy, naive engine, naive executor", None, {"X-Peer": "1acme"}, {"X-Peer": "1application/json"}),
    peer(PYVOY, "pyvoy: ASGI inside Envoy", (1, 64)),
    peer(AIOHTTP, "aiohttp reverse proxy", (1, 64)),
    peer(FASTAPI, "FastAPI + httpx reverse proxy", (1, 64)),
    peer(MITMPROXY, "mitmdump reverse proxy", (1, 64)),
)
"""Go → Go has both Go policies of Go → Python → Go, so that these rows differ only by the Python policy. The naive
policy appends a header's value to its parameter."""


def key_at_commit(key: str, revision: str) -> str:
    """The key of the same row at another commit."""
    return f"{revision[:7]}-{key}"


def pair_with_commits(rows: Sequence[Row], revisions: Sequence[str]) -> Iterator[Row]:
    """Each row with an API is followed by the same one at each commit, so that they are measured close together."""
    for row in rows:
        yield row
        for revision in revisions if row.policies is not None else ():
            key, title = key_at_commit(row.key, revision), f"{row.title}, {revision}"
            yield replace(row, key=key, title=title, revision=revision)


IN_ENVOY = "in-envoy"


def key_in_envoy(key: str) -> str:
    """The key of the same row at a gateway whose engine runs inside Envoy."""
    return f"{IN_ENVOY}-{key}"


def pair_with_mode(rows: Sequence[Row]) -> Iterator[Row]:
    """Each row with an API is followed by the same one with the engine inside Envoy."""
    for row in rows:
        yield row
        if row.policies is not None:
            yield replace(row, key=key_in_envoy(row.key), title=f"{row.title}, inside Envoy", engine=IN_ENVOY)


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
            "operations": [{"method": row.method, "path": ORDERS if row.resource == ORDER else row.resource}],
        },
    }


def write_apis(rows: tuple[Row, ...], upstream: str, folder: Path) -> None:
    """Writes a file for each row that has an API, and deletes those of earlier runs. JSON is YAML."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for row in rows:
        if row.policies is not None:
            (folder / f"{row.key}.json").write_text(json.dumps(api(row, upstream), indent=2))


def write_expectations(rows: tuple[Row, ...], file: Path) -> None:
    """Writes the headers that the upstream must receive, for `load upstream -expect`."""
    file.write_text(json.dumps({row.prefix: dict(row.upstream) for row in rows}, indent=2))
