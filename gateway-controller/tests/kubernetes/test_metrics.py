"""What docs/reference/metrics.md says of Gateway API's metrics, which no gateway without Kubernetes has."""

from __future__ import annotations

import re
from pathlib import Path

from gatewright_controller.kubernetes.metrics import PREFIX, Counts, GatewayApiMetrics
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import CollectorRegistry

PAGE = Path(__file__).resolve().parents[3] / "docs/reference/metrics.md"
ROW = re.compile(rf"^\| `({PREFIX}_\w+)` \|([^|]*)\| (counter|gauge)\b", re.MULTILINE)


def test_the_page_has_each_metric_with_its_kind_and_labels() -> None:
    counts = Counts(objects=lambda: {"Gateway": 2})
    counts.count_status("Gateway")
    registry = CollectorRegistry()
    registry.register(GatewayApiMetrics(counts))
    found = {
        f"{family.name}_total" if isinstance(family, CounterMetricFamily) else family.name: (
            family.type,
            {label for sample in family.samples for label in sample.labels},
        )
        for family in registry.collect()
    }
    assert found == {
        name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, labels, kind in ROW.findall(PAGE.read_text())
    }
