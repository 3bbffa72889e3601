"""OpenTelemetry's collector, of the parts that tests need: it receives OTLP and writes it to a file."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from e2e.kit.gateway import Json, eventually
from e2e.kit.listening import free_port
from e2e.kit.places import ROOT

KINDS = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}


@dataclass(frozen=True)
class Span:
    """A span as the collector received it. parent: "" for the first of its trace. error: the reason of a failure."""

    trace: str
    id: str
    parent: str
    name: str
    kind: str
    start: int
    end: int
    attributes: Json
    resource: Json
    scope: str
    error: str | None
    state: str
    events: list[Json] = field(default_factory=list)


class Collector:
    """A collector that can be stopped and started again, with the same ports and the same file."""

    def __init__(self, folder: Path) -> None:
        self.grpc, self.http = free_port(), free_port()
        self.file, self._log = folder / "received.jsonl", folder / "collector.log"
        self._config = folder / "collector.yaml"
        receiver = {"protocols": {name: {"endpoint": f"127.0.0.1:{port}", "include_metadata": True}
                                  for name, port in (("grpc", self.grpc), ("http", self.http))}}  # fmt: skip
        pipeline = {"receivers": ["otlp"], "exporters": ["file"]}
        config = {
            "receivers": {"otlp": receiver},
            "exporters": {"file": {"path": str(self.file), "append": True, "flush_interval": "50ms"}},
            "service": {
                "pipelines": dict.fromkeys(("traces", "logs"), pipeline),
                "telemetry": {"metrics": {"level": "none"}},
            },
        }
        self._config.write_text(yaml.safe_dump(config))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Collector:
        command = [program(), f"--config=file:{self._config}"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        eventually("the collector listens", lambda: all(map(self._listens, (self.grpc, self.http))), 30)
        return self

    def _listens(self, port: int) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(20)
            self._process = None

    def text(self) -> str:
        """The whole file."""
        return self.file.read_text() if self.file.exists() else ""

    def spans(self, trace: str = "") -> list[Span]:
        """The spans received, of one trace if it is named."""
        lines = [json.loads(line) for line in self.text().splitlines() if line.endswith("}") and trace in line]
        spans = [span for line in lines for group in line.get("resourceSpans", []) for span in _spans(group)]
        return [span for span in spans if trace in ("", span.trace)]


def _spans(group: Json) -> Iterator[Span]:
    resource = _values(group.get("resource", {}))
    for scope in group.get("scopeSpans", []):
        for span in scope["spans"]:
            status = span.get("status", {})
            yield Span(
                span["traceId"], span["spanId"], span.get("parentSpanId", ""), span["name"], KINDS[span["kind"]],
                int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"]), _values(span), resource,
                scope.get("scope", {}).get("name", ""), status.get("message", "") if status.get("code") == 2 else None,
                span.get("traceState", ""), span.get("events", []),
            )  # fmt: skip


def _values(holder: Json) -> Json:
    return {attribute["key"]: _value(attribute["value"]) for attribute in holder.get("attributes", [])}


def _value(value: Json) -> Any:
    ((kind, content),) = value.items()
    match kind:
        case "intValue":
            return int(content)
        case "arrayValue":
            return [_value(value) for value in content.get("values", [])]
    return content


@contextmanager
def collector(folder: Path) -> Iterator[Collector]:
    running_collector = Collector(folder).start()
    try:
        yield running_collector
    finally:
        running_collector.stop()


def program() -> str:
    """The path of the program, which is built once, from the Go module proxy."""
    command = [sys.executable, str(ROOT / "tools" / "go_tool.py"), "collector"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ.copy())
    return result.stdout.strip()
