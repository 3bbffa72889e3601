"""The metrics of a gateway, read by the parsers of Prometheus' own client."""

from __future__ import annotations

import functools
import json
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_text

from e2e.kit.gateway import Gateway, Json

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
SECONDS = 30.0
Parser = Callable[[str], Iterable[Metric]]


def status(run_dir: Path) -> Json:
    """The output of `gatewright status`."""
    command = ["gatewright", "status", "--json", "--run-dir", str(run_dir)]
    document: Json = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    return document


def address(gateway: Gateway) -> str:
    """HOST:PORT of the admin listener, or "" without one."""
    listener: str = json.loads(gateway.admin("engine", "/stats"))["listener"]
    return listener


class Scrape:
    """A page of metrics. parse: the parser of its format."""

    def __init__(self, text: str, parse: Parser = plain_text) -> None:
        self._text, self._parse = text, parse

    @functools.cached_property
    def families(self) -> Mapping[str, Metric]:
        """All of them by their names, as the format has them."""
        return {family.name: family for family in self._parse(self._text)}

    def sample_names(self) -> set[str]:
        """The names of all samples."""
        return {sample.name for family in self.families.values() for sample in family.samples}

    def value(self, name: str, **labels: str) -> float:
        """The sum of all samples of the name that have these labels."""
        return sum(sample.value for sample in self.samples(name) if labels.items() <= sample.labels.items())

    def samples(self, name: str) -> Iterator[Sample]:
        """Of plain text, their own lines alone are parsed: a page has thousands, which take 0.1 s of CPU."""
        lines = re.findall(rf"^{re.escape(name)}[{{ ].*\n", self._text, re.MULTILINE)
        families = plain_text("".join(lines)) if self._parse is plain_text else self.families.values()
        for family in families:
            yield from (Sample(sample.labels, sample.value) for sample in family.samples if sample.name == name)

    def quantile(self, name: str, quantile: float, bounds: list[float], **labels: str) -> int:
        """The index in `bounds` of the histogram bucket in which the quantile lies."""
        counts = dict.fromkeys(bounds, 0.0)
        for sample in self.samples(f"{name}_bucket"):
            if labels.items() <= sample.labels.items():
                counts[float(sample.labels["le"])] += sample.value
        return next(at for at, bound in enumerate(bounds) if counts[bound] >= quantile * counts[bounds[-1]])

    def bounds(self, name: str) -> list[float]:
        """The upper bounds of a histogram, +Inf the last."""
        return sorted({float(sample.labels["le"]) for sample in self.samples(f"{name}_bucket")})


@dataclass(frozen=True)
class Sample:
    labels: Mapping[str, str]
    value: float


def scrape(gateway: Gateway) -> Scrape:
    """Scrapes in Prometheus' text format."""
    return scrape_at(f"http://{address(gateway)}/metrics")


def scrape_at(url: str) -> Scrape:
    """Scrapes the admin listener at an address, in Prometheus' text format."""
    answer = httpx.get(url, timeout=SECONDS)
    assert answer.status_code == 200, answer.text
    return Scrape(answer.text)


def scrape_open_metrics(gateway: Gateway) -> Scrape:
    """Scrapes in the OpenMetrics format."""
    answer = httpx.get(f"http://{address(gateway)}/metrics", headers={"accept": OPEN_METRICS}, timeout=SECONDS)
    assert answer.headers["content-type"].startswith("application/openmetrics-text"), answer.headers
    return Scrape(answer.text, open_metrics)
