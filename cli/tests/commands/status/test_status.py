from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from gatewright_cli.clients.engine_admin import Note
from gatewright_cli.commands.status import table
from gatewright_cli.commands.status.health import Health, health, shortcomings
from gatewright_cli.commands.status.sources import _with_note

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
NOTES = json.loads((Path(__file__).parents[4] / "conformance" / "notes.json").read_text())["cases"]


def process(name: str, state: str = "ready", leaving: bool = False, restarted: Iterable[float] = ()) -> dict[str, Any]:
    """restarted: how many seconds before NOW it was ready again."""
    times = [(NOW - timedelta(seconds=ago)).isoformat() for ago in restarted]
    always = {"pid": 7, "restarts": len(times), "listen": None}
    return {"name": name, "state": state, "leaving": leaving, "restartedAt": times, **always}


def status(*processes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    by_name = {entry["name"]: entry for entry in processes}
    names = {"controller": None, "executor-default-0": None, "engine": None, "envoy": None, **by_name}
    return {
        "state": "running",
        "pid": 1,
        "url": "http://127.0.0.1:8080",
        "build": "/build",
        "processes": [by_name.get(name, process(name)) for name in names],
        "apis": [],
        "refusedFiles": [],
        "quarantined": [],
        **fields,
    }


def api(state: str, reason: str = "", **more: str) -> dict[str, Any]:
    return {"name": "orders", "version": "v1", "context": "/orders", "state": state, "reason": reason, **more}


def certificate(name: str, days: int) -> dict[str, Any]:
    return {"kind": "certificate", "name": name, "ends": "2026-11-27T15:09:37Z", "daysLeft": days}


REFUSED = {
    "file": "apis/a.yaml",
    "api": "",
    "state": "rejected",
    "mistakes": [{"message": "not YAML", "field": "", "line": 3}, {"message": "bad", "field": "spec.x", "line": 0}],
}


def obtained(failures: int = 0) -> dict[str, Any]:
    return {
        "name": "web",
        "hosts": ["a.example", "b.example"],
        "obtained": False,
        "notAfter": "",
        "next": "2026-01-01T00:00:00Z",
        "failures": failures,
        "error": "no such host" if failures else "",
    }


NO_DATABASE = "the controller cannot open its database: the disk is full (controller.db: disk I/O error)"
QUARANTINED = {"policy": "harm:v1.0.0", "api": "orders", "instance": "i", "deaths": 3, "leftMs": 9600}


@pytest.mark.parametrize(
    ("found", "expected", "texts"),
    [
        (status(), Health.HEALTHY, []),
        (status(apis=[api("deployed")]), Health.HEALTHY, []),
        (status(apis=[api("deployed", note="no connection")]), Health.HEALTHY, []),
        (status(process("executor-default-0.1", "stopping", leaving=True)), Health.HEALTHY, []),
        (status(apis=[api("deployed"), api("pending")]), Health.DEGRADED, ["1 of 2 APIs not deployed"]),
        (status(apis=[api("rejected")]), Health.DEGRADED, ["1 of 1 APIs not deployed"]),
        (status(refusedFiles=[REFUSED]), Health.DEGRADED, ["1 API file refused"]),
        (status(refusedFiles=[REFUSED], databaseTrouble=NO_DATABASE), Health.DEGRADED, [NO_DATABASE]),
        (status(quarantined=[QUARANTINED]), Health.DEGRADED, ["1 policy instance under quarantine"]),
        (status(acme=[obtained()]), Health.HEALTHY, []),
        (status(acme=[obtained(3)]), Health.DEGRADED, ["1 certificate not obtained or renewed"]),
        (status(certificates=[certificate("web", 3)]), Health.HEALTHY, []),
        (status(certificates=[certificate("web", -1)]), Health.DEGRADED, ["certificate web has expired"]),
        (status(certificates=[certificate("a", -1), certificate("b", -9)]), Health.DEGRADED,
         ["certificate a has expired", "certificate b has expired"]),
        (status(process("executor-default-0", restarted=(4.3,))), Health.DEGRADED,
         ["executor-default-0 was restarted 4 s ago"]),
        (status(process("engine", restarted=(-2,))), Health.DEGRADED,
         ["engine was restarted 0 s ago"]),  # the clock was set
        (status(process("executor-default-0", restarted=(70, 60, 59, 4))), Health.DEGRADED,
         ["executor-default-0 was restarted 4 s ago (2 times in the last minute)"]),
        (status(process("executor-default-0", restarted=(4000, 60))), Health.HEALTHY, []),
        (status(process("executor-default-0", "restarting", restarted=(4,))), Health.DEGRADED,
         ["executor-default-0 is restarting"]),
        (status(process("executor-default-0.1", leaving=True, restarted=(4,))), Health.HEALTHY, []),
        (status(process("controller", "restarting")), Health.DEGRADED, ["controller is restarting"]),
        (status(process("executor-default-0", "starting")), Health.DEGRADED, ["executor-default-0 is starting"]),
        (status(process("envoy", "restarting")), Health.NOT_SERVING, ["envoy is restarting"]),
        (status(process("engine", "restarting")), Health.NOT_SERVING, ["engine is restarting"]),
        (status(state="starting"), Health.NOT_SERVING, ["the run is starting"]),
        (status(state="stopping"), Health.NOT_SERVING, ["the run is stopping"]),
    ],
)  # fmt: skip
def test_the_health_of_a_run(found: dict[str, Any], expected: Health, texts: list[str]) -> None:
    assert health(found, NOW) is expected
    assert shortcomings(found, NOW) == texts


@pytest.mark.parametrize("case", NOTES, ids=lambda case: case["name"])
def test_what_a_node_notes_is_shown(case: dict[str, Any]) -> None:
    """As the Inspector shows it: gateway-controller/tests/inspector/notes.test.js."""
    found = status(notes=case["notes"], quarantined=case["facts"].get("quarantined", []))
    assert sorted(shortcomings(found, NOW)) == sorted(case["status"]["shortcomings"])
    assert health(found, NOW) is (Health.DEGRADED if case["status"]["shortcomings"] else Health.HEALTHY)
    notes = msgspec.convert(case["notes"], list[Note])
    for name, note in case["status"]["apis"].items():
        assert _with_note(api("deployed") | {"name": name}, notes)["note"] == note
    assert "note" not in _with_note(api("deployed") | {"name": "nobodys"}, notes)
    out = io.StringIO()
    table.write(found, out)
    lines = [
        line for line in out.getvalue().splitlines() if any(line.startswith(note["title"]) for note in case["notes"])
    ]
    shown = [note for note in case["notes"] if note["about"]["kind"] != "api"]
    assert len(lines) == len(shown)
    for line, note in zip(lines, shown, strict=True):
        assert re.split(" {2,}", line) == [note["title"], note["party"], note["reason"], note["cure"]]


def test_a_note_of_an_api_that_is_not_deployed_adds_the_cure_to_its_reason() -> None:
    (case,) = (case for case in NOTES if "unresolved" in case["facts"])
    notes = msgspec.convert(case["notes"], list[Note])
    pending = api("pending", "n1: upstream: the name nowhere.example does not resolve: no such host")
    assert _with_note(pending, notes)["note"] == f"{pending['reason']} ({notes[0].cure})"
    rejected = api("rejected", "no such policy")
    assert _with_note(rejected, notes)["note"] == f"no such policy; {notes[0].reason} ({notes[0].cure})"


def test_an_expired_certificate_is_reported_once() -> None:
    """The engine notes those of the Gateway; Envoy may have others, and authorities."""
    expired = [certificate("a", -1), certificate("old", -1), certificate("a", -1) | {"kind": "authority"}]
    (note,) = (note for case in NOTES for note in case["notes"] if note["title"] == "certificate a has expired")
    assert shortcomings(status(notes=[note], certificates=expired), NOW) == [
        f"certificate a has expired ({note['reason']})", "certificate old has expired", "authority a has expired",
    ]  # fmt: skip


def test_the_exit_status_that_is_documented() -> None:
    assert (int(Health.HEALTHY), int(Health.DEGRADED), int(Health.NOT_SERVING)) == (0, 3, 1)


def test_a_table_for_a_program_is_plain_text() -> None:
    out = io.StringIO()
    pending = api("pending", "the [red]server\x1b[31m is away " + "x" * 300)
    found = status(
        apis=[pending, api("deployed", note="no address")],
        refusedFiles=[REFUSED],
        quarantined=[QUARANTINED],
        acme=[obtained()],
    )
    table.write(found, out)
    lines = out.getvalue().splitlines()
    assert lines[0] == "degraded: 1 of 2 APIs not deployed, 1 API file refused, 1 policy instance under quarantine"
    assert all(line == line.rstrip() for line in lines)
    rows = [line.split() for line in lines]
    assert ["envoy", "ready", "7", "0"] in rows
    assert ["orders", "v1", "/orders", "deployed", "no", "address"] in rows
    out = io.StringIO()
    table.write(status(apis=[{**api("deployed"), "hosts": ["shop.example", "*.shop.example"]}]), out)
    rows += [line.split() for line in out.getvalue().splitlines()]
    assert ["orders", "v1", "shop.example/orders", "deployed"] in rows
    assert ["*.shop.example/orders"] in rows
    assert any(f"the [red]server\\x1b[31m is away {'x' * 300}" in line for line in lines)
    assert ["?", "rejected", "apis/a.yaml:3:", "not", "YAML"] in rows
    assert ["apis/a.yaml:", "spec.x:", "bad"] in rows
    assert ["web", "a.example", "b.example", "not", "obtained", "2026-01-01T00:00:00Z"] in rows


def test_listeners_and_certificates_have_tables() -> None:
    out = io.StringIO()
    listeners = [{"name": "http", "url": "http://127.0.0.1:80"}, {"name": "https", "url": "https://127.0.0.1:443"}]
    certificates = [certificate("web", 3), certificate("old", -2)]
    found = status(listeners=listeners, closedListeners=["partners"], certificates=certificates)
    table.write(found, out)
    rows = [line.split() for line in out.getvalue().splitlines()]
    assert ["LISTENER", "URL"] in rows
    assert ["https", "https://127.0.0.1:443"] in rows
    assert ["partners", "closed"] in rows
    assert ["web", "certificate", "2026-11-27T15:09:37Z", "3"] in rows
    assert ["old", "certificate", "2026-11-27T15:09:37Z", "expired"] in rows


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_in_a_terminal_it_has_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = Terminal()
    table.write(status(), out)
    assert out.getvalue().startswith("\x1b[32mhealthy")


@pytest.mark.parametrize(("lacks", "shown"), [([], "landlock"), (["TCP ports"], "landlock (incomplete)")])
def test_the_level_of_each_executor_is_shown(lacks: list[str], shown: str) -> None:
    executor = process("executor-default-0") | {"isolation": {"level": "landlock", "lacks": lacks}}
    written = io.StringIO()
    table.write(status(executor), written)
    lines = written.getvalue().splitlines()
    at = next(line for line in lines if line.startswith("PROCESS")).index("ISOLATION")
    assert next(line for line in lines if line.startswith("executor-default-0"))[at:].strip() == shown
    assert next(line for line in lines if line.startswith("engine"))[at:].strip() == ""


def test_a_state_that_is_not_exported_degrades_the_run() -> None:
    away = status(stateExportTrouble="https://b/x answered 403 to a PUT")
    assert shortcomings(away, NOW) == ["the state is not exported (https://b/x answered 403 to a PUT)"]
    assert health(away, NOW) == Health.DEGRADED
