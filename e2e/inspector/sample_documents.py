"""The documents of a simulated node: of one that is well, and of one with many troubles."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from e2e.kit.gateway import Json

BOUNDS = (0.00005, 0.0005, 0.005, 0.05, 0.5, 5.0)

EXECUTOR: Json = {
    "group": "default", "address": "unix:/run/executor-default-0.sock", "generation": 3, "role": "serving",
    "connected": True, "serving": True, "pid": 4711, "pythonVersion": "3.11.7", "workers": 32, "instances": 6,
    "underWay": 2, "streams": 0, "queued": 0, "executions": 120, "executionsStarted": 120, "silentMs": 158,
    "stalled": False, "memoryExhausted": False, "threadFailed": False, "workersBusy": 3, "workersHung": 0, "hung": [],
}  # fmt: skip
STATS: Json = {
    "node": {
        "controllerConnected": True, "revision": 7, "apis": 3, "pending": 0, "unserved": 0, "stateErrors": 0,
        "gateway": {"digest": "", "state": "applied", "reason": ""}, "certificates": {},
    },
    "xds": {"envoyConnected": True},
    "extProc": {"exchanges": 90, "active": 2, "unknownChain": 0, "cancelled": 0, "failed": 0},
    "bodies": {"limitBytes": 134217728, "heldBytes": 0, "refused": 0},
    "executors": [EXECUTOR],
    "quarantined": [],
    "policies": [],
    "listener": "127.0.0.1:9901",
}  # fmt: skip
COMPONENTS = {"supervisor": 42, "controller": 84, "python-executor": 33, "policy-engine": 44, "envoy": 72}
"""Memory in MiB."""
LABELS = 'api="orders",operation="GET /items",policy="log-message:v1.0.0",phase="request"'


def histogram(name: str, labels: str, count: int) -> list[str]:
    """As if all of it were in the third bucket."""
    lines = [f'{name}_bucket{{{labels},le="{bound}"}} {0 if bound < 0.005 else count}' for bound in BOUNDS]
    return [*lines, f'{name}_bucket{{{labels},le="+Inf"}} {count}', f"{name}_count{{{labels}}} {count}"]


def metrics(*, up: int = 1, restarts: int = 0, executions: int = 40, overloaded: int = 0) -> str:
    """As Prometheus' text. up: processes of Envoy; executions: of one policy."""
    lines = ["# TYPE gatewright_generation gauge", "gatewright_generation 3"]
    for component, size in COMPONENTS.items():
        own = f'component="{component}"'
        lines += [
            f"gatewright_process_up{{{own}}} {up if component == 'envoy' else 1}",
            f"gatewright_process_memory_bytes{{{own}}} {size << 20}",
            f"gatewright_process_restarts_total{{{own}}} {restarts if component == 'python-executor' else 0}",
        ]
    for source in ("envoy", "supervisor", "controller"):
        lines.append(f'gatewright_metrics_source_up{{source="{source}"}} {up if source == "envoy" else 1}')
    lines += [
        'gatewright_executor_workers_busy{group="default"} 3',
        'gatewright_executor_queue_depth{group="default"} 0',
    ]
    lines += ['gatewright_reloads_total{result="reloaded"} 2']
    lines += [f'gatewright_executions_total{{{LABELS},outcome="ok"}} {executions}']
    lines += histogram("gatewright_execution_work_seconds", LABELS, executions)
    lines += [f"envoy_overload_envoy_overload_actions_stop_accepting_requests_active {overloaded}"]
    return "\n".join(lines) + "\n"


def llm_metrics() -> str:
    """Of llm-usage: two models, one of them without a price, and two teams."""
    names = "requests", "input_tokens", "output_tokens", "cost_billionths", "unpriced"
    rows = [
        ("gpt-4o-2024-08-06", "shop", "web", (1200, 1834000, 92000, 5505000000, 0)),
        ("gpt-4o-2024-08-06", "search", "batch", (80, 420000, 8000, 1130000000, 0)),
        ("house-model-7b", "search", "batch", (40, 91000, 4100, 0, 40)),
        ("house-model-7b", "", "", (2, 100, 20, 0, 2)),
    ]
    lines = []
    for model, team, client, values in rows:
        for name, value in zip(names, values, strict=True):
            outcome = ',outcome="counted"' if name == "requests" else ""
            labels = f'policy="llm-usage:v1.0.0",api="chat",model="{model}",client="{client}",team="{team}"{outcome}'
            lines.append(f"gatewright_policy_llm_{name}_total{{{labels}}} {value}")
    return "\n".join(lines) + "\n"


def documents(stats: Json, text: str, notes: list[Json]) -> dict[str, str]:
    return {"stats": json.dumps(stats), "metrics": text, "notes": json.dumps(notes)}


def well() -> dict[str, str]:
    stats = copy.deepcopy(STATS)
    stats["node"]["certificates"] = {"web": _certificate_ending(200, 170)}
    return documents(stats, metrics(), [])


def unwell() -> dict[str, str]:
    """Documents of a node that has every trouble at once."""
    stats = copy.deepcopy(STATS)
    stats["xds"]["envoyConnected"] = False
    certificates = {"web": _certificate_ending(-1, -30), "partners": _certificate_ending(5.5, -1)}
    stats["node"] |= {
        "unserved": 1,
        "stateErrors": 2,
        "certificates": certificates,
    }
    stats["bodies"]["heldBytes"] = 130000000
    hung = {"policy": "sleep:v1.0.0", "api": "slow", "instance": "0" * 32, "count": 3, "oldestMs": 61000}
    first = EXECUTOR | {"workersBusy": 32, "workersHung": 3, "queued": 9, "hung": [hung | {"blocksInstance": True}]}
    silent = EXECUTOR | {"pid": 4712, "silentMs": 9000, "memoryExhausted": True, "threadFailed": True, "stalled": True}
    away: dict[str, Any] = EXECUTOR | {"group": "models", "pid": 0, "connected": False, "serving": False, "hung": None}
    stats["executors"] = [first, silent, away]
    quarantined = {"group": "default", "policy": "answer:v1.0.0", "api": "answered", "instance": "1" * 32}
    stats["quarantined"] = [quarantined | {"deaths": 2, "leftMs": 30000}]
    return documents(stats, metrics(up=0, restarts=4, overloaded=1), NOTES)


def _note(severity: str, party: str, kind: str, name: str, *words: str) -> Json:
    """words: its title, reason and cure."""
    title, reason, cure = words
    about = {"kind": kind, "name": name}
    return {"severity": severity, "party": party, "about": about, "title": title, "reason": reason, "cure": cure}


NOTES = [
    _note("bad", "policy", "policy", "answer:v1.0.0", "policy answer:v1.0.0 of API answered is quarantined",
          "2 executor processes crashed while it ran; it is not executed, its failures are of class crashed, and it is "
          "tried again in 30 s",
          "fix the policy and reload; the log of python-executor has the last lines of the process"),
    _note("bad", "operator", "certificate", "web", "certificate web has expired",
          "it ended at 2026-11-26T17:00:00Z, and clients refuse to connect",
          "replace its file: the node loads the new one at once"),
    _note("warn", "operator", "certificate", "partners", "certificate partners ends in 5 days",
          "after 2026-12-02T05:00:00Z clients refuse to connect",
          "replace its file: the node loads the new one at once"),
    _note("warn", "gateway", "metrics", "envoy", "no metrics of envoy", "no answer within 1s",
          "see the log of envoy; until it answers, its figures and the alerts made of them are missing"),
]  # fmt: skip


UNWELL = [
    "Envoy is not connected to the engine on pretended",
    "1 API not served on pretended",
    "No executor of group models serves on pretended",
    "sleep:v1.0.0 hangs in executor default (pid 4711) on pretended",
    "Executor default (pid 4712) on pretended is silent",
    "Executor default (pid 4712) on pretended is stalled",
    "Executor default (pid 4712) on pretended is out of memory",
    "Executor default (pid 4712) on pretended has lost a thread",
    "Policy answer:v1.0.0 of API answered is quarantined on pretended",
    "Certificate web has expired on pretended",
    "No process of envoy is ready on pretended",
    "Envoy is overloaded on pretended",
    "The state directory cannot be written to on pretended",
    "Memory for bodies is nearly full on pretended",
    "All workers of executor default (pid 4711) on pretended are busy",
    "Certificate partners ends in 5 days on pretended",
    "No metrics of envoy on pretended",
    "python-executor was restarted 4 times on pretended",
]
"""The troubles of `unwell` as pages show them, the worst first."""


def _certificate_ending(days: float, soon: float) -> Json:
    """A certificate that ends in so many days, and is warned of in so many."""
    return {"ends": _in_days(days), "soon": _in_days(soon), "urgent": _in_days(days), "last": _in_days(days)}


def _in_days(days: float) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).isoformat().replace("+00:00", "Z")
