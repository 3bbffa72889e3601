"""How targets are found to be down: asked by themselves, and by what becomes of clients' requests."""

from __future__ import annotations

from typing import cast

from envoy.config.cluster.v3 import outlier_detection_pb2
from envoy.config.core.v3 import health_check_pb2
from envoy.type.v3 import http_pb2, range_pb2

from gatewright_controller.model import Ejection, HealthCheck, HttpCheck, UpstreamProtocol, milliseconds
from gatewright_controller.translate.envoy.common import EnvoyMessage, duration

SWEEP_MS, SHORTEST_SWEEP_MS = 10_000, 100
"""The interval between two looks at which targets may return, at most and at least."""
LONGEST_MS = 300_000
"""That a target is out, unless `baseTime` is longer."""


def health_check(check: HealthCheck, host: str, protocol: UpstreamProtocol, *, secure: bool) -> EnvoyMessage:
    """A check of each target. `host`: what it is called where the check does not say."""
    built = health_check_pb2.HealthCheck()
    interval = duration(milliseconds(check.interval))
    for part in (built.interval, built.no_traffic_interval):  # Envoy's default without requests is 60 s
        part.CopyFrom(interval)
    built.timeout.CopyFrom(duration(milliseconds(check.timeout)))
    built.unhealthy_threshold.value, built.healthy_threshold.value = check.unhealthy_threshold, check.healthy_threshold
    built.interval_jitter_percent = 10
    if check.http:
        _set_http(built.http_health_check, check.http, host, http2=protocol == "http2")
    elif check.grpc:
        built.grpc_health_check.service_name, built.grpc_health_check.authority = check.grpc.service, host
    else:
        built.tcp_health_check.SetInParent()
    if secure and check.http:
        built.tls_options.alpn_protocols.append("h2" if protocol == "http2" else "http/1.1")
    return cast("EnvoyMessage", built)


def _set_http(built: health_check_pb2.HealthCheck.HttpHealthCheck, check: HttpCheck, host: str, *, http2: bool) -> None:
    built.host, built.path = check.host or host, check.path
    built.codec_client_type = http_pb2.HTTP2 if http2 else http_pb2.HTTP1
    for statuses in check.expected_statuses:
        first, _, last = statuses.partition("-")
        built.expected_statuses.append(range_pb2.Int64Range(start=int(first), end=int(last or first) + 1))
    # Without it, a status that is not expected is enough at the first time, whatever the threshold.
    built.retriable_statuses.append(range_pb2.Int64Range(start=100, end=600))


def ejection(settings: Ejection) -> EnvoyMessage | None:
    """None where nothing ejects a target. What Envoy enforces by default is said to be off, where it is.

    What is of local origin counts as an answer of 503 or 504. Counted apart, a connection that opens would be a
    success: a target that takes connections and resets them would stay.
    """
    if not settings.consecutive_gateway_errors and not settings.consecutive_5xx:
        return None
    base = milliseconds(settings.base_time)
    built = outlier_detection_pb2.OutlierDetection()
    built.interval.CopyFrom(duration(max(min(SWEEP_MS, base // 2), SHORTEST_SWEEP_MS)))
    built.base_ejection_time.CopyFrom(duration(base))
    built.max_ejection_time.CopyFrom(duration(max(base, LONGEST_MS)))
    built.max_ejection_percent.value = settings.max_percent
    built.enforcing_success_rate.value = 0
    for count, consecutive, enforcing in (
        (
            settings.consecutive_gateway_errors,
            built.consecutive_gateway_failure,
            built.enforcing_consecutive_gateway_failure,
        ),
        (settings.consecutive_5xx, built.consecutive_5xx, built.enforcing_consecutive_5xx),
    ):
        enforcing.value = 100 if count else 0
        if count:
            consecutive.value = count
    return cast("EnvoyMessage", built)
