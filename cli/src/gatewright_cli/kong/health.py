"""Kong's active and passive health checks."""

from __future__ import annotations

from gatewright_documents.values import JsonObject

from gatewright_cli.kong.report import Report
from gatewright_cli.kong.source import Fields

SHORTEST_MS = 100
MOST_CHECKS = 100
HEALTHY = (200, 302)
COUNTERS = ("http_failures", "tcp_failures", "timeouts")


def health_check(active: Fields, report: Report) -> JsonObject | None:
    """The pool's check; None where Kong makes none: it does with an interval."""
    healthy, unhealthy = active.at("healthy"), active.at("unhealthy")
    interval = healthy.number("interval") or unhealthy.number("interval")
    _see(active, healthy, unhealthy, report)
    _left_out(active, report)
    if not interval:
        return None
    if healthy.number("interval") != unhealthy.number("interval"):
        where = unhealthy.where("interval") if unhealthy.has("interval") else healthy.where("interval")
        report.changed(where, "healthy and unhealthy targets are checked at the same interval")
    counters = [unhealthy.whole(key) for key in COUNTERS if unhealthy.whole(key) > 0]
    if len(set(counters)) > 1:
        for key in COUNTERS:
            if unhealthy.whole(key) > min(counters):
                report.changed(
                    unhealthy.where(key), f"any {min(counters)} checks in a row that fail count, whatever the failure"
                )
    kind = active.text("type", "http")
    check: JsonObject = {"tcp": {}} if kind == "tcp" else {"http": _http(active, healthy, report)}
    if kind == "https":
        report.changed(active.where("type"), "a check is made as requests are: by TLS if the service is https")
    return {
        **check,
        "interval": _milliseconds(interval),
        "timeout": _milliseconds(active.number("timeout", 1)),
        "unhealthyThreshold": min(min(counters, default=1), MOST_CHECKS),
        "healthyThreshold": min(max(healthy.whole("successes"), 1), MOST_CHECKS),
    }


def _http(active: Fields, healthy: Fields, report: Report) -> JsonObject:
    statuses = [status for status in healthy.wholes("http_statuses") or HEALTHY if 100 <= status <= 599]
    if len(statuses) > 20:
        report.changed(healthy.where("http_statuses"), "a check has 20 statuses at most: all from 200 to 399 count")
        return {"path": active.text("http_path", "/"), "expectedStatuses": ["200-399"]}
    return {"path": active.text("http_path", "/"), "expectedStatuses": [str(status) for status in statuses]}


def _see(active: Fields, healthy: Fields, unhealthy: Fields, report: Report) -> None:
    active.see("type", "timeout", "http_path")
    healthy.see("interval", "successes", "http_statuses")
    unhealthy.see("interval", *COUNTERS)
    if unhealthy.has("http_statuses"):
        report.changed(unhealthy.where("http_statuses"), "each status that is not one of the healthy ones is a failure")


def _left_out(active: Fields, report: Report) -> None:
    for key in ("concurrency", "headers", "https_sni", "https_verify_certificate"):
        if active.has(key):
            report.left_out(active.where(key), "a check has no such setting")


def ejection(passive: Fields, report: Report) -> JsonObject:
    """The pool's ejection. Without counters Kong's circuit breaker is off, and so is the pool's."""
    unhealthy, healthy = passive.at("unhealthy"), passive.at("healthy")
    failures = unhealthy.whole("http_failures")
    connections = [unhealthy.whole(key) for key in ("tcp_failures", "timeouts") if unhealthy.whole(key) > 0]
    passive.see("type", "healthy")
    if not failures and not connections:
        unhealthy.see("http_statuses", *COUNTERS)
        return {"consecutiveGatewayErrors": 0}
    reason = "a target is tried again after 30s; in Kong it stays out until a check or a person brings it back"
    for key in COUNTERS:
        if unhealthy.whole(key):
            report.changed(unhealthy.where(key), reason, "set ejection.baseTime, or add a healthCheck")
    if unhealthy.has("http_statuses"):
        report.changed(unhealthy.where("http_statuses"), "every status from 500 on counts, and no other")
    if healthy.whole("successes"):
        report.changed(healthy.where("successes"), "a request that succeeds ends the count of failures")
    return {
        "consecutiveGatewayErrors": min(min(connections, default=0), 1000),
        **({"consecutive5xx": min(failures, 1000)} if failures else {}),
    }


def _milliseconds(seconds: float) -> str:
    milliseconds = max(SHORTEST_MS, min(round(seconds * 1000), 9_999_000))
    return f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s"
