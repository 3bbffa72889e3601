"""The status of a run, gathered from its supervisor, the engine and Envoy."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from gatewright_cli.clients import envoy_admin
from gatewright_cli.clients.engine_admin import ENGINE_SOCKET, CertificateWarnings, Note, notes, quarantined, stats
from gatewright_cli.clients.envoy_admin import ENVOY_SOCKET, Json
from gatewright_cli.commands.status.health import RunStatus, health, shortcomings
from gatewright_cli.node.files import inspector_page
from gatewright_cli.run import control


def collect(run_dir: Path, written: RunStatus) -> RunStatus:
    """The status of a run. written: its status.json, in case it does not answer.

    With `quarantined`, `store`, `certificates`, `health`, `shortcomings`, and a `note` for each API whose upstreams
    have a problem. `notes` are all problems, in the engine's words.
    `metricsFailing` has the processes that returned no metrics at the last scrape, each with the reason.
    `metrics` is the URL that Prometheus scrapes, "" for none.
    `inspector` is the address of the controller's web page, "" without a controller.
    `listeners` are those that Envoy reports, if it answers: the management API may have changed them.
    `closedListeners` are the names of listeners that wait for usable files of a certificate or an authority;
    `failingFiles` are the unusable ones: `kind`, `name`, `reason`.
    For each of `certificates` the engine knows whether its end is near (`warning`), and whether ACME renews it
    (`renewed`).
    """
    status = control.status(run_dir) or written
    engine_notes = notes(run_dir / ENGINE_SOCKET)
    status = status | {
        "apis": [_with_note(api, engine_notes) for api in status["apis"]],
        "notes": msgspec.to_builtins(engine_notes),
    }
    status |= {"quarantined": quarantined(run_dir / ENGINE_SOCKET)}
    engine = stats(run_dir / ENGINE_SOCKET)
    gateway = engine.node.gateway
    status |= {"store": msgspec.to_builtins(engine.store), "metricsFailing": engine.metrics_failing}
    status |= {"closedListeners": list(gateway.closed), "failingFiles": msgspec.to_builtins(gateway.failing_files)}
    status |= {"metrics": f"http://{engine.listener}/metrics" if engine.listener else ""}
    status |= {"inspector": inspector_page.address(status["controller"]) if status["controller"] else ""}
    if served := envoy_admin.read_served(run_dir / ENVOY_SOCKET, time.time()):
        now, known = datetime.now(UTC), engine.node.certificates
        certificates = [_with_warning(certificate, known, now) for certificate in served.certificates]
        status |= {"listeners": served.listeners, "certificates": certificates}
    return status | {"health": health(status).word, "shortcomings": shortcomings(status)}


def _with_note(api: Json, notes: Sequence[Note]) -> Json:
    """With `note`, if its upstreams have a problem: its own reason, if any, and reason and cure of each note."""
    own = [note for note in notes if (note.about.kind, note.about.name) == ("api", api["name"])]
    if not own:
        return api
    reasons = [api["reason"]] if api["reason"] else []
    for note in own:
        if reasons and note.reason in reasons[0]:
            reasons[0] += f" ({note.cure})"
        else:
            reasons.append(f"{note.reason} ({note.cure})")
    return api | {"note": "; ".join(reasons)}


def _with_warning(served: Json, known: Mapping[str, CertificateWarnings], now: datetime) -> Json:
    """A certificate that Envoy serves, with `warning` and `renewed`."""
    warnings = known.get(served["name"]) if served["kind"] == "certificate" else None
    if warnings is None:
        return served
    return served | {"warning": warnings.stage(now), "renewed": warnings.renewed}
