"""A Prometheus process, and its HTTP API."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from e2e.kit.gateway import eventually
from e2e.kit.listening import free_port
from e2e.kit.pebble import program

Json = dict[str, Any]
EXPECTED_NOTES = re.compile(r'might not be a counter.*"envoy_|needed to be fixed for monotonicity')
"""Names of Envoy's counters do not end in _total, all of them. rate() extrapolates each bucket by itself: of a
histogram that has just begun, one may get more than the next, although it has less."""


@dataclass(frozen=True)
class Series:
    """Labels, and values with their times (seconds since the epoch): one of an instant query, any number of a range.
    `histogram`: the values are native histograms, and stand for their counts."""

    labels: dict[str, str]
    values: tuple[tuple[float, float], ...]
    histogram: bool = False

    @property
    def value(self) -> float:
        return self.values[-1][1]


class Prometheus:
    """Listens on `url`. An answer with a warning or a note (a rate of what is no counter) is an error here."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._client = httpx.Client(base_url=self.url, timeout=30)

    def close(self) -> None:
        self._client.close()

    def is_ready(self) -> bool:
        try:
            return self._client.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def ask(self, path: str, **parameters: str) -> Any:
        """The member `data` of /api/v1/PATH."""
        answer = self._client.post(path, data=parameters) if parameters else self._client.get(path)
        document = answer.json()
        assert document["status"] == "success", f"{parameters.get('query', path)}: {document}"
        assert not document.get("warnings"), f"{parameters.get('query', path)}: {document['warnings']}"
        notes = [note for note in document.get("infos", []) if not EXPECTED_NOTES.search(note)]
        assert not notes, f"{parameters.get('query', path)}: {notes}"
        return document["data"]

    def query(self, expression: str, when: float | None = None) -> list[Series]:
        """when: seconds since the epoch; None: now."""
        time = {} if when is None else {"time": f"{when}"}
        return [_series(series) for series in self.ask("/api/v1/query", query=expression, **time)["result"]]

    def value(self, expression: str, when: float | None = None) -> float:
        """The value of an expression that has one series."""
        series = self.query(expression, when)
        assert len(series) == 1, f"expected one series of {expression}, got {series}"
        return series[0].value

    def query_range(self, expression: str, start: float, end: float, step: float) -> list[Series]:
        data = self.ask("/api/v1/query_range", query=expression, start=f"{start}", end=f"{end}", step=f"{step}")
        return [_series(series) for series in data["result"]]

    def rules(self) -> list[Json]:
        return [rule for group in self.ask("/api/v1/rules")["groups"] for rule in group["rules"]]

    def firing(self) -> list[Json]:
        return [alert for alert in self.ask("/api/v1/alerts")["alerts"] if alert["state"] == "firing"]


def wait_for(server: Prometheus, query: str, count: int) -> None:
    """Waits until a query has so many series."""
    eventually(f"{query} has {count} series", lambda: len(server.query(query)) >= count, 60)


def _series(document: Json) -> Series:
    histograms = document.get("histograms") or ([document["histogram"]] if "histogram" in document else [])
    values = document.get("values") or ([document["value"]] if "value" in document else [])
    points = [(when, float(value)) for when, value in values]
    points += [(when, float(value["count"])) for when, value in histograms]
    return Series(document["metric"], tuple(sorted(points)), bool(histograms))


@contextmanager
def prometheus(folder: Path, config: Json, port: int | None = None) -> Iterator[Prometheus]:
    """Runs a Prometheus. folder: for its configuration and data. config: with absolute paths."""
    file, log, port = folder / "prometheus.yaml", folder / "prometheus.log", port or free_port()
    file.write_text(yaml.safe_dump(config))
    command = [program("prometheus"), f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder)
    server = Prometheus(port)
    try:
        eventually("Prometheus is ready", lambda: process.poll() is not None or server.is_ready(), 60)
        assert process.poll() is None, f"Prometheus has ended:\n{log.read_text()}"
        yield server
    finally:
        server.close()
        process.kill()
        process.wait()
