"""The metrics of policies (sdk.metrics), as the engine collects them."""

from __future__ import annotations

import secrets

from gatewright import metrics

from gatewright_executor._gen import python_executor_pb2 as pb

PROCESS = secrets.randbits(63) or 1  # a random id of this process
_KINDS: dict[metrics.Kind, pb.PolicyMetric.Kind] = {
    "counter": pb.PolicyMetric.KIND_COUNTER,
    "gauge": pb.PolicyMetric.KIND_GAUGE,
    "histogram": pb.PolicyMetric.KIND_HISTOGRAM,
}


def collect_metrics(request: bytes) -> bytes:
    """Answers a CollectMetricsRequest with the metrics that have changed since its version, both serialized."""
    since = pb.CollectMetricsRequest.FromString(request).version
    version, changed = metrics.registry.collect(since)
    response = pb.CollectMetricsResponse(version=version, metrics=map(_metric, changed), process=PROCESS)
    return response.SerializeToString()


def _metric(metric: metrics.MetricSnapshot) -> pb.PolicyMetric:
    return pb.PolicyMetric(
        policy=metric.policy,
        name=metric.name,
        help=metric.documentation,
        kind=_KINDS[metric.kind],
        label_names=metric.label_names,
        bounds=metric.bounds,
        samples=map(_sample, metric.samples),
        refused=metric.refused,
    )


def _sample(sample: metrics.Sample) -> pb.PolicySample:
    return pb.PolicySample(label_values=sample.label_values, value=sample.value, buckets=sample.buckets)
