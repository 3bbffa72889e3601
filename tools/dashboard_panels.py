"""The panels of the Grafana dashboard: rows of panels, with the query of each line. `dashboard.py` makes it JSON.

Names of metrics are those of docs/reference/metrics.md; queries of Envoy's hold for any Envoy, so they name the job.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

NODE = 'job=~"$job", instance=~"$instance"'
API = f'{NODE}, api=~"$api"'
POLICY = f'{API}, policy=~"$policy"'
UPSTREAM = f'{NODE}, envoy_cluster_name!~"gatewright_.*"'  # not what Envoy itself asks: engine, xDS, controller
FAILED = 'outcome!~"ok|cancelled"'
OTHERS = ".+_(total|bucket|sum|count|created)"
"""Metrics of policies that are no gauges."""


@dataclass(frozen=True)
class Panel:
    """queries: by what their lines are called in the legend, `{{label}}` in it; of a table, by the column's title.

    unit: as Grafana calls it (s, bytes, reqps, percentunit, short …). units: of a table's columns with another one.
    """

    title: str
    description: str
    unit: str
    queries: Mapping[str, str]
    type: str = "timeseries"
    stacked: bool = False
    width: int = 8
    units: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    title: str
    panels: tuple[Panel, ...]
    height: int = 8


@dataclass(frozen=True)
class Variable:
    """A choice at the top of the dashboard. query: as Grafana's Prometheus source has it."""

    name: str
    label: str
    query: str
    regex: str = ""
    several: bool = True


def rate(metric: str, by: str, labels: str = POLICY) -> str:
    return f"sum by ({by}) (rate({metric}{{{labels}}}[$__rate_interval]))"


def within_an_hour(metric: str, by: str) -> str:
    return f"sum by ({by}) (increase({metric}{{{NODE}}}[1h]))"


def total(metric: str, by: str, labels: str = NODE) -> str:
    return f"sum by ({by}) ({metric}{{{labels}}})"


def quantile(share: float, metric: str, by: str, labels: str = POLICY) -> str:
    """Of the native histogram, or else of the classic buckets, which are less exact: what the scraper has kept."""
    classic = f"sum by ({by}, le) (rate({metric}_bucket{{{labels}}}[$__rate_interval]))"
    return f"histogram_quantile({share}, {rate(metric, by, labels)}) or histogram_quantile({share}, {classic})"


def seconds_in_a_second(metric: str, by: str, labels: str = POLICY) -> str:
    """How long it took, of each second of time: how many run at once, on average."""
    native = f"sum by ({by}) (histogram_sum(rate({metric}{{{labels}}}[$__rate_interval])))"
    return f"{native} or {rate(f'{metric}_sum', by, labels)}"


def mean(metric: str, by: str, labels: str = POLICY) -> str:
    native = f"histogram_avg({rate(metric, by, labels)})"
    return f"{native} or {rate(f'{metric}_sum', by, labels)} / {rate(f'{metric}_count', by, labels)}"


VARIABLES = (
    Variable("job", "Job", 'label_values(gatewright_build_info{job=~"gatewright.*"}, job)'),
    Variable("instance", "Node", 'label_values(gatewright_build_info{job=~"$job"}, instance)'),
    Variable("api", "API", f"label_values(gatewright_exchanges_total{{{NODE}}}, api)"),
    Variable("policy", "Policy", f"label_values(gatewright_executions_total{{{API}}}, policy)"),
    Variable(
        "counter",
        "A policy's counter",
        f'label_values({{__name__=~"gatewright_policy_.+_total", {NODE}}}, __name__)',
        several=False,
    ),
    Variable(
        "histogram",
        "A policy's histogram",
        f'label_values({{__name__=~"gatewright_policy_.+_bucket", {NODE}}}, __name__)',
        regex="/(.*)_bucket/",
        several=False,
    ),
    Variable(
        "gauge",
        "A policy's gauge",
        f'label_values({{__name__=~"gatewright_policy_.+", __name__!~"{OTHERS}", {NODE}}}, __name__)',
        several=False,
    ),
)

TRAFFIC = Row(
    "Traffic",
    (
        Panel(
            "Requests by API",
            "Exchanges on routes with policies that ended, in a second.",
            "reqps",
            {"{{api}}": rate("gatewright_exchanges_total", "api", API)},
            stacked=True,
        ),
        Panel(
            "Answers by class of status",
            "All requests to the node, those without policies too, as Envoy answered them.",
            "reqps",
            {"{{envoy_response_code_class}}xx": rate("envoy_http_downstream_rq_xx", "envoy_response_code_class", NODE)},
            stacked=True,
        ),
        Panel(
            "How exchanges end",
            "cancelled: the client disconnected. failed: a fault of the engine or of Envoy.",
            "reqps",
            {"{{result}}": rate("gatewright_exchanges_total", "result", API)},
        ),
        Panel(
            "Duration of an exchange",
            "Until no policy has anything left to do: with the upstream, where one sees the response.",
            "s",
            {
                "p50": quantile(0.5, "gatewright_exchange_duration_seconds", "job", API),
                "p90": quantile(0.9, "gatewright_exchange_duration_seconds", "job", API),
                "p99": quantile(0.99, "gatewright_exchange_duration_seconds", "job", API),
            },
        ),
        Panel(
            "Duration by API, p99",
            "The slowest hundredth of each API's exchanges.",
            "s",
            {"{{api}}": quantile(0.99, "gatewright_exchange_duration_seconds", "api", API)},
        ),
        Panel(
            "Under way",
            "Exchanges in the engine, and requests in Envoy.",
            "short",
            {
                "exchanges {{instance}}": total("gatewright_exchanges_active", "instance"),
                "requests {{instance}}": total("envoy_http_downstream_rq_active", "instance"),
            },
        ),
        Panel(
            "Busiest operations",
            "The ten with most requests.",
            "reqps",
            {
                "{{api}} {{operation}}": f"topk(10, {rate('gatewright_exchanges_total', 'api, operation', API)})",
            },
            width=24,
        ),
    ),
)

ERRORS = Row(
    "Errors",
    (
        Panel(
            "Failed executions by class",
            "timeout, overloaded, unavailable, crashed, exception, badAction, bodyTooLarge, badBody, condition.",
            "ops",
            {"{{outcome}}": rate("gatewright_executions_total", "outcome", f"{POLICY}, {FAILED}")},
            stacked=True,
        ),
        Panel(
            "Failed executions by policy",
            "Whose they are.",
            "ops",
            {
                "{{api}} {{policy}} {{outcome}}": rate(
                    "gatewright_executions_total", "api, policy, outcome", f"{POLICY}, {FAILED}"
                )
            },
            stacked=True,
        ),
        Panel(
            "Share of executions that fail",
            "Of each policy in each API, over five minutes. An alert is at 5 %.",
            "percentunit",
            {
                "{{api}} {{policy}}": "job_api_policy:gatewright_execution_failures:ratio5m"
                '{job=~"$job", api=~"$api", policy=~"$policy"}'
            },
        ),
        Panel(
            "Let pass by onError: continue",
            "Failures that clients did not notice.",
            "ops",
            {"{{api}} {{policy}}": rate("gatewright_executions_continued_total", "api, policy")},
        ),
        Panel(
            "Exchanges without a chain",
            "Answered 503: Envoy's route names a chain that the engine has not. Anything but 0 is a fault of ours.",
            "reqps",
            {"{{instance}}": rate("gatewright_unknown_chain_total", "instance", NODE)},
        ),
        Panel(
            "Cancelled executions",
            "The client disconnected while the policy ran.",
            "ops",
            {
                "{{api}} {{policy}}": rate(
                    "gatewright_executions_total", "api, policy", f'{POLICY}, outcome="cancelled"'
                )
            },
        ),
    ),
)

POLICIES = Row(
    "Which policy is slow",
    (
        Panel(
            "Policies",
            "Executions a second, seconds of work in each second, and quantiles of one execution's work and waiting.",
            "s",
            {
                "work, s/s": seconds_in_a_second("gatewright_execution_work_seconds", "api, policy, phase"),
                "executions": rate("gatewright_executions_total", "api, policy, phase"),
                "work p50": quantile(0.5, "gatewright_execution_work_seconds", "api, policy, phase"),
                "work p99": quantile(0.99, "gatewright_execution_work_seconds", "api, policy, phase"),
                "waiting p99": quantile(0.99, "gatewright_execution_waiting_seconds", "api, policy, phase"),
            },
            type="table",
            width=24,
            units={"work, s/s": "short", "executions": "ops"},
        ),
        Panel(
            "Work, p99",
            "What the policy's own function took; of Go policies its whole turn.",
            "s",
            {"{{api}} {{policy}} {{phase}}": quantile(0.99, "gatewright_execution_work_seconds", "api, policy, phase")},
        ),
        Panel(
            "Work, mean",
            "Beside p99: far below it where few executions are slow.",
            "s",
            {"{{api}} {{policy}} {{phase}}": mean("gatewright_execution_work_seconds", "api, policy, phase")},
        ),
        Panel(
            "Waiting, p99",
            "Of Python policies: the turn without the work. Queues, slots, and the way to the executor and back.",
            "s",
            {
                "{{api}} {{policy}} {{phase}}": quantile(
                    0.99, "gatewright_execution_waiting_seconds", "api, policy, phase"
                )
            },
        ),
    ),
)

SHADOWS = Row(
    "Shadow attachments",
    (
        Panel(
            "What shadows would do",
            "Executions of shadow attachments: same, different, failed, skipped. Nothing of them is applied.",
            "ops",
            {"{{api}} {{policy}} {{outcome}}": rate("gatewright_shadow_executions_total", "api, policy, outcome")},
            stacked=True,
        ),
        Panel(
            "Work of shadows, p99",
            "What the policy's own function took; of Go policies the whole turn.",
            "s",
            {
                "{{api}} {{policy}} {{phase}}": quantile(
                    0.99, "gatewright_shadow_execution_work_seconds", "api, policy, phase"
                )
            },
        ),
    ),
)

EXECUTORS = Row(
    "Executors",
    (
        Panel(
            "Processes",
            "By group and role. joining and leaving ones are there during a reload or a replacement.",
            "short",
            {"{{group}} {{role}}": total("gatewright_executor_processes", "group, role")},
        ),
        Panel(
            "Generation",
            "Each reload that is served makes a new one.",
            "short",
            {"{{instance}}": f"max by (instance) (gatewright_generation{{{NODE}}})"},
        ),
        Panel(
            "Workers",
            "Threads for Python policies. busy near all of them: what comes on top waits.",
            "short",
            {
                "{{group}} all": total("gatewright_executor_workers", "group"),
                "{{group}} busy": total("gatewright_executor_workers_busy", "group"),
                "{{group}} hung": total("gatewright_executor_workers_hung", "group"),
            },
        ),
        Panel(
            "Queue depth",
            "Executions that wait for a worker or a slot.",
            "short",
            {"{{group}}": total("gatewright_executor_queue_depth", "group")},
        ),
        Panel(
            "Executions and streams under way",
            "In the executors.",
            "short",
            {
                "{{group}} executions": total("gatewright_executor_executions_active", "group"),
                "{{group}} streams": total("gatewright_executor_streams_active", "group"),
            },
        ),
        Panel(
            "Hung executions",
            "They run on long after their deadline; each holds a worker.",
            "short",
            {
                "{{group}} {{policy}}": total(
                    "gatewright_executor_hung_executions", "group, policy", f'{NODE}, policy=~"$policy"'
                )
            },
        ),
        Panel(
            "Under quarantine",
            "Instances whose executions have ended their process again and again; they are answered 503.",
            "short",
            {"{{api}} {{policy}}": total("gatewright_quarantined_instances", "api, policy", POLICY)},
        ),
        Panel(
            "Executors replaced",
            "In the last hour, by reason.",
            "short",
            {"{{group}} {{reason}}": within_an_hour("gatewright_executor_recycled_total", "group, reason")},
        ),
        Panel(
            "Processes started again",
            "In the last hour.",
            "short",
            {"{{component}}": within_an_hour("gatewright_process_restarts_total", "component")},
        ),
        Panel(
            "Memory by process",
            "Resident, of all processes of a component.",
            "bytes",
            {"{{component}}": total("gatewright_process_memory_bytes", "component")},
            stacked=True,
            width=16,
        ),
        Panel(
            "Processes that are ready",
            "Of each component; all executors are one. 0: it does not get ready.",
            "short",
            {"{{component}}": f"min by (component) (gatewright_process_up{{{NODE}}})"},
        ),
    ),
)

BODIES = Row(
    "Bodies",
    (
        Panel(
            "Held in memory",
            "Bodies that policies read or make, and what they may take together (--body-memory).",
            "bytes",
            {
                "held {{instance}}": total("gatewright_bodies_held_bytes", "instance"),
                "limit {{instance}}": total("gatewright_bodies_limit_bytes", "instance"),
            },
        ),
        Panel(
            "Refused for memory",
            "Answered 503 for want of room.",
            "reqps",
            {"{{instance}}": rate("gatewright_bodies_refused_total", "instance", NODE)},
        ),
        Panel(
            "Bytes that policies see",
            "Of request and response bodies, by API.",
            "Bps",
            {"{{api}} {{direction}}": rate("gatewright_body_bytes_total", "api, direction", API)},
        ),
    ),
)

UPSTREAMS = Row(
    "Upstreams, by Envoy",
    (
        Panel(
            "Answers of upstreams by class of status",
            "",
            "reqps",
            {
                "{{envoy_cluster_name}} {{envoy_response_code_class}}xx": rate(
                    "envoy_cluster_upstream_rq_xx", "envoy_cluster_name, envoy_response_code_class", UPSTREAM
                )
            },
        ),
        Panel(
            "Time of upstreams, p99",
            "From the request to the end of the answer.",
            "ms",
            {
                "{{envoy_cluster_name}}": quantile(
                    0.99, "envoy_cluster_upstream_rq_time", "envoy_cluster_name", UPSTREAM
                )
            },
        ),
        Panel(
            "Requests under way",
            "",
            "short",
            {"{{envoy_cluster_name}}": total("envoy_cluster_upstream_rq_active", "envoy_cluster_name", UPSTREAM)},
        ),
        Panel(
            "Connections that fail",
            "",
            "cps",
            {"{{envoy_cluster_name}}": rate("envoy_cluster_upstream_cx_connect_fail", "envoy_cluster_name", UPSTREAM)},
        ),
        Panel(
            "Healthy targets",
            "Share of those that the pool has.",
            "percentunit",
            {
                "{{envoy_cluster_name}}": f"{total('envoy_cluster_membership_healthy', 'envoy_cluster_name', UPSTREAM)}"
                f" / {total('envoy_cluster_membership_total', 'envoy_cluster_name', UPSTREAM)}"
            },
        ),
        Panel(
            "Retries and time-outs",
            "",
            "reqps",
            {
                "{{envoy_cluster_name}} retries": rate(
                    "envoy_cluster_upstream_rq_retry", "envoy_cluster_name", UPSTREAM
                ),
                "{{envoy_cluster_name}} time-outs": rate(
                    "envoy_cluster_upstream_rq_per_try_timeout", "envoy_cluster_name", UPSTREAM
                ),
            },
        ),
    ),
)

CHANGES = Row(
    "Changes and configuration",
    (
        Panel(
            "Connected to the controller",
            "0: the node serves what it has, and changes wait.",
            "short",
            {"{{instance}}": total("gatewright_node_controller_connected", "instance")},
        ),
        Panel(
            "Revision",
            "Of the desired state that the node has taken; nodes of one controller come to the same.",
            "short",
            {"{{instance}}": f"max by (instance) (gatewright_node_revision{{{NODE}}})"},
        ),
        Panel(
            "APIs on nodes",
            "",
            "short",
            {"{{instance}} {{state}}": total("gatewright_node_apis", "instance, state")},
        ),
        Panel(
            "Updates of nodes",
            "What became of what the controller sent.",
            "ops",
            {"{{instance}} {{result}}": rate("gatewright_node_updates_total", "instance, result", NODE)},
        ),
        Panel(
            "xDS updates",
            "What Envoy acknowledged and what it refused, by type.",
            "ops",
            {"{{type}} {{result}}": rate("gatewright_xds_updates_total", "type, result", NODE)},
        ),
        Panel(
            "Certificates: time left",
            "",
            "s",
            {"{{name}}": f"min by (name) (gatewright_certificate_expiry_timestamp_seconds{{{NODE}}}) - time()"},
        ),
        Panel(
            "Reloads",
            "In the last hour, by what came of them.",
            "short",
            {"{{result}}": within_an_hour("gatewright_reloads_total", "result")},
        ),
        Panel(
            "Duration of reloads, p90",
            "In the last hour, from the change to the last process that serves it.",
            "s",
            {"p90": quantile(0.9, "gatewright_reload_duration_seconds", "job", NODE).replace("$__rate_interval", "1h")},
        ),
        Panel(
            "APIs and nodes of the controller",
            "",
            "short",
            {
                "APIs {{state}}": total("gatewright_controller_apis", "state"),
                "nodes": total("gatewright_controller_nodes", "job"),
            },
        ),
        Panel(
            "Requests to the management API",
            "",
            "reqps",
            {
                "{{method}} {{route}} {{status}}": rate(
                    "gatewright_controller_requests_total", "method, route, status", NODE
                )
            },
            width=12,
        ),
        Panel(
            "Duration of requests to the management API, p99",
            "A change with ?wait= takes as long as it waits.",
            "s",
            {
                "{{method}} {{route}}": quantile(
                    0.99, "gatewright_controller_request_duration_seconds", "method, route", NODE
                )
            },
            width=12,
        ),
        Panel(
            "Versions",
            "More than one line for a component: nodes run different versions.",
            "short",
            {"{{component}} {{version}}": f"count by (component, version) (gatewright_build_info{{{NODE}}})"},
            type="stat",
            width=24,
        ),
    ),
)

OWN = Row(
    "A policy's own metrics",
    (
        Panel(
            "$counter",
            "What sdk.metrics.Counter counts, in a second. Choose it at the top.",
            "ops",
            {"{{policy}}": f'sum by (policy) (rate($counter{{{NODE}, policy=~"$policy"}}[$__rate_interval]))'},
        ),
        Panel(
            "$histogram, p99",
            "Of sdk.metrics.Histogram.",
            "short",
            {"{{policy}}": quantile(0.99, "${histogram}", "policy", f'{NODE}, policy=~"$policy"')},
        ),
        Panel(
            "$gauge",
            "Of sdk.metrics.Gauge.",
            "short",
            {"{{policy}}": f'sum by (policy) ($gauge{{{NODE}, policy=~"$policy"}})'},
        ),
    ),
)

ROWS = (TRAFFIC, ERRORS, POLICIES, SHADOWS, EXECUTORS, BODIES, UPSTREAMS, CHANGES, OWN)
