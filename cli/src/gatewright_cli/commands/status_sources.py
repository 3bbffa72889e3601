"""The status of a run, from all who know of it: its supervisor, the engine, Envoy."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from gatewright_cli.commands.status import RunStatus, health, shortcomings
from gatewright_cli.node import envoy_listeners, inspector_page
from gatewright_cli.node.engine_admin import ENGINE_SOCKET, CertificateWarnings, Note, notes, quarantined, stats
from gatewright_cli.node.envoy_listeners import ENVOY_SOCKET, Json
from gatewright_cli.run import control


def collect(run_dir: Path, written: RunStatus) -> RunStatus:
    """`written` is what the run last wrote of itself: for one that does not answer.

    With `quarantined`, `store`, `certificates`, `health`, `shortcomings`, and a `note` for each API whose upstreams
    show trouble. `notes` are all that is not as it should be, in the engine's words.
    `metricsFailing` has the processes that told no metrics at the last scrape, each with the reason.
    `metrics` is the URL that Prometheus scrapes, "" where there is none.
    `inspector` is the address of the controller's web page, "" where there is no controller.
    `listeners` are what Envoy has, where it says so: the management API may have changed them.
    `closedListeners` are names of those that wait for a certificate or an authority whose files can be used;
    `failingFiles` are all of these that cannot be: `kind`, `name`, `reason`.
    Of `certificates` the engine says whether their end is near (`warning`), and whether ACME renews them (`renewed`).
    """
    found = control.status(run_dir) or written
    noted = notes(run_dir / ENGINE_SOCKET)
    found = found | {"apis": [_with_note(api, noted) for api in found["apis"]], "notes": msgspec.to_builtins(noted)}
    found |= {"quarantined": quarantined(run_dir / ENGINE_SOCKET)}
    engine = stats(run_dir / ENGINE_SOCKET)
    gateway = engine.node.gateway
    found |= {"store": msgspec.to_builtins(engine.store), "metricsFailing": engine.metrics_failing}
    found |= {"closedListeners": list(gateway.closed), "failingFiles": msgspec.to_builtins(gateway.failing_files)}
    found |= {"metrics": f"http://{engine.listener}/metrics" if engine.listener else ""}
    found |= {"inspector": inspector_page.address(found["controller"]) if found["controller"] else ""}
    if served := envoy_listeners.read_served(run_dir / ENVOY_SOCKET, time.time()):
        now, known = datetime.now(UTC), engine.node.certificates
        certificates = [_with_warning(certificate, known, now) for certificate in served.certificates]
        found |= {"listeners": served.listeners, "certificates": certificates}
    return found | {"health": health(found).word, "shortcomings": shortcomings(found)}


def _with_note(api: Json, notes: Sequence[Note]) -> Json:
    """With `note`, where its upstreams show trouble: its own reason, if any, and reason and cure of each note."""
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
