"""Twelve faults in one node: status, tail, explain, the Inspector and an alert say whose each is, and the cure."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from e2e.kit.certificates import DAY, authority
from e2e.kit.closed_port import closed_port
from e2e.kit.commands import Tail, request_id_of, run_explain, run_tail
from e2e.kit.gateway import Gateway, Json, api, attach, credentials, eventually, running
from e2e.kit.listening import free_port, write
from e2e.kit.places import ROOT
from e2e.kit.prometheus import deployed
from e2e.kit.prometheus.server import Prometheus, prometheus, wait_for
from e2e.kit.silent import Silent
from e2e.kit.upstream import Upstream
from e2e.observe.told_faults import FAULTS, PAGE, TOOLS, Fault, mark_of, normalize, replace_tables

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.slow("a node with twelve faults, and a Prometheus that watches it"),
]
DRIVER = Path(__file__).parent / "inspector_words.mjs"
IN_PASSING = re.compile(r"was restarted|no metrics of")
"""Shortcomings that go by themselves: what a fault does to processes while it lasts."""
REQUESTS = {
    "the upstream's port is closed": ("GET", "/refusing/x", 503),
    "the upstream speaks no TLS": ("GET", "/plain/x", 503),
    "the upstream is too slow": ("GET", "/slow/x", 504),
    "the upstream's name does not resolve": ("GET", "/unresolved/x", 503),
    "no target of the upstream is healthy": ("GET", "/unhealthy/x", 503),
    "no API has the path": ("GET", "/ordrs/7", 404),
    "no operation takes the method": ("PUT", "/orders/7", 405),
    "a policy raises": ("GET", "/raises/x", 500),
}
HOLDS, DATABASE = "a policy holds the interpreter", "the controller's database is damaged"
COUNTED = (
    ('sum by (api) (gatewright_proxy_answers_total{party="upstream"}) > 0', 5),
    ('sum by (api) (gatewright_executions_total{api="raises", outcome="exception"}) > 0', 1),
)
"""The state of a scrape once the first requests are in it, and the number of series."""


@dataclass
class Node:
    """The node with its faults. reports: by fault and tool. ids: of the requests that were sent."""

    gateway: Gateway
    prometheus: Prometheus
    reports: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(lambda: dict.fromkeys(TOOLS, "")))
    ids: dict[str, str] = field(default_factory=dict)

    # ------------------------------------------------------------ requests

    def ask(self, tail: Tail, fault: str, method: str, path: str, status: int) -> None:
        """Sends a request, and keeps what `tail` says of it."""
        answer = httpx.request(method, f"{self.gateway.url}{path}", timeout=60)
        assert answer.status_code == status, answer.text
        line = next(line for line in iter(tail.line, "") if f"  {method} {path}  " in line and f"  {status}  " in line)
        self.ids[fault] = request_id_of(line)
        self.reports[fault]["tail"] = normalize(
            line.partition(f"  {method} {path}  ")[2].replace(request_id_of(line), "")
        )

    def plant_all(self) -> None:
        with run_tail(self.gateway) as tail:
            for fault, (method, path, status) in REQUESTS.items():
                self.ask(tail, fault, method, path, status)
            for query, series in COUNTED:
                wait_for(self.prometheus, query, series)
            for method, path, status in REQUESTS.values():  # a rate is of two scrapes
                assert httpx.request(method, f"{self.gateway.url}{path}", timeout=60).status_code == status
            self.hold(tail)

    def hold(self, tail: Tail) -> None:
        """The first request holds the interpreter, the next one is refused for that."""
        url = f"{self.gateway.url}/holds/x"
        assert httpx.get(url, timeout=60).status_code in {503, 504}
        assert any("  GET /holds/x  " in line for line in iter(tail.line, ""))
        eventually("it is known", lambda: json.loads(self.gateway.admin("engine", "/executors"))["quarantined"], 60)
        self.ask(tail, HOLDS, "GET", "/holds/x", 503)

    # ------------------------------------------------------------ what is said

    def explain_all(self) -> None:
        for fault, request_id in self.ids.items():
            first, *rest = run_explain(self.gateway, request_id).splitlines()
            facts = [line for line in rest if re.match(r"(fault|cure)  ", line) or re.fullmatch(r"  \S+\.py:\d+", line)]
            self.reports[fault]["explain"] = normalize("; ".join([re.sub(r"; [\d.]+ m?s$", "", first), *facts]))

    def note_status(self, faults: Sequence[str]) -> None:
        """Notes the report of `gatewright status` on these faults; the node has no other trouble."""
        command = ["gatewright", "status", "--json", "--run-dir", str(self.gateway.run_dir)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert result.returncode == 3, result.stdout
        document = json.loads(result.stdout)
        unclaimed = {shortcoming for shortcoming in document["shortcomings"] if not IN_PASSING.search(shortcoming)}
        for name in faults:
            claimed, notes = status_of(FAULTS[name], document)
            unclaimed -= set(claimed)
            health = "degraded (3)" if claimed else "healthy (0)"
            self.reports[name]["status"] = (
                normalize(f"{health}: {'; '.join([*claimed, *notes])}") if claimed + notes else ""
            )
        assert unclaimed == set(), "expected each shortcoming to be of one of the faults"

    def note_inspector(self, faults: Sequence[str]) -> None:
        pages = inspector(self.gateway, list(self.ids.values()))
        assert pages["problem"] == ""
        exchanges = dict(zip(self.ids, pages["exchanges"], strict=True))
        for name in faults:
            words = [
                f"{trouble['title']}: {trouble['meaning']} {trouble['cure']}{responsible_party(trouble)}"
                for trouble in pages["troubles"]
                if names_any(FAULTS[name], trouble["title"])
            ]
            if exchange := exchanges.get(name):
                parts = {"Fault": exchange["fault"], "Cure": exchange["cure"], "Raised at": exchange["place"]}
                facts = [f"{label}: {value}" for label, value in parts.items() if value]
                words.append("; ".join([f"Exchange: {exchange['verdict']}", *facts]))
            self.reports[name]["inspector"] = normalize(" ".join(words))

    def wait_for_alerts(self, faults: Sequence[str]) -> None:
        """Keeps the words of those that fire: they have none once they are over."""
        clusters: dict[str, list[str]] = json.loads(self.gateway.admin("engine", "/clusters"))

        def missing() -> set[str]:
            firing = self.prometheus.firing()
            for name in faults:
                about = {
                    *FAULTS[name].names,
                    *(cluster for api in FAULTS[name].names for cluster in clusters.get(api, [])),
                }
                for alert in firing:
                    if is_of(FAULTS[name], about, alert["labels"]) and not self.reports[name]["alert"]:
                        self.reports[name]["alert"] = words_of(alert)
            return {name for name in faults if FAULTS[name].alert and not self.reports[name]["alert"]}

        try:
            eventually("they fire", lambda: not missing(), 90)
        except AssertionError as error:
            raise AssertionError(f"no alert: {sorted(missing())}") from error

    def damage_database(self) -> None:
        """The controller starts again, and something else is in the place of its database."""
        state = Path(self.gateway.status()["stateDir"])
        (kept := state / "kept").mkdir()
        for file in state.glob("controller.db*"):
            file.rename(kept / file.name)
        (state / "controller.db").write_text("no database" * 100)
        self.gateway.kill("controller")
        eventually("it is noticed", lambda: self.gateway.status()["databaseTrouble"], 60)
        self.wait_for_alerts([DATABASE])
        self.note_status(list(FAULTS))
        self.reports[DATABASE]["inspector"] = normalize(inspector(self.gateway, [])["problem"])


def status_of(fault: Fault, document: Json) -> tuple[list[str], list[str]]:
    """The shortcomings that are the fault's, and what the tables have of it besides."""
    shortcomings = [shortcoming for shortcoming in document["shortcomings"] if names_any(fault, shortcoming)]
    if fault.shortcoming:
        shortcomings += [
            shortcoming
            for shortcoming in document["shortcomings"]
            if re.search(fault.shortcoming, shortcoming) and shortcoming not in shortcomings
        ]
    apis = [api for api in document["apis"] if api["name"] in fault.names and (api["reason"] or api.get("note"))]
    rows = [f"{api['name']}: {api.get('note') or api['reason']}" for api in apis]
    notes = [note for note in document["notes"] if note["about"]["kind"] != "api" and names_any(fault, note["title"])]
    return shortcomings, rows + [words_of_note(note, shortcomings) for note in notes]


def words_of_note(note: Json, shortcomings: Sequence[str]) -> str:
    """The reason stands in a shortcoming, or in the note alone."""
    reason = "" if any(note["reason"] in shortcoming for shortcoming in shortcomings) else f"{note['reason']}; "
    return f"{note['title']}: {reason}{note['party']}; {note['cure']}"


def responsible_party(trouble: Json) -> str:
    return f" Responsible: the {trouble['party']}." if "party" in trouble else ""


def names_any(fault: Fault, text: str) -> bool:
    return any(re.search(rf"\b{re.escape(name)}\b", text) for name in fault.names)


def is_of(fault: Fault, about: set[str], labels: dict[str, str]) -> bool:
    """Whether an alert belongs to the fault. An alert without an API, cluster or certificate belongs to the node."""
    names = {labels[key] for key in ("api", "name", "envoy_cluster_name") if key in labels}
    return labels["alertname"] == fault.alert and (not names or bool(names & about))


def words_of(alert: Json) -> str:
    labels, notes = alert["labels"], alert["annotations"]
    text = f"{labels['alertname']} ({labels['severity']}): {notes['summary']}. {notes['description']} {notes['action']}"
    return normalize(text)


def inspector(gateway: Gateway, ids: list[str]) -> Json:
    """The texts that the modules of the Inspector make of the controller's answers."""
    token = credentials(gateway.run_dir)["authorization"].removeprefix("Bearer ")
    origin = f"http://{gateway.process_status('controller')['listen']}"
    command = [sys.executable, str(ROOT / "tools" / "javascript.py"), "--run", str(DRIVER)]
    arguments = json.dumps({"origin": origin, "token": token, "ids": ids})
    result = subprocess.run(command, input=arguments, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    pages: Json = json.loads(result.stdout)
    return pages


# ------------------------------------------------------------------ the node


def gateway_file(folder: Path, admin: int) -> Path:
    """A Gateway with a certificate that ends within a day, and one whose file holds something else."""
    signs = authority(folder)
    ending, ending_key = signs.issue("ending", "127.0.0.1", lived=60 * DAY)
    broken, broken_key = signs.issue("broken", "127.0.0.1")
    broken.write_text("hello")
    listeners = [
        {"name": "http", "port": free_port()},
        {"name": "edge", "port": free_port(), "protocol": "https", "tls": {"certificates": ["ending"]}},
        {"name": "partners", "port": free_port(), "protocol": "https", "tls": {"certificates": ["broken"]}},
    ]
    files = {
        "ending": {"certificateFile": str(ending), "keyFile": str(ending_key)},
        "broken": {"certificateFile": str(broken), "keyFile": str(broken_key)},
    }
    return write(folder / "gateway.yaml", *listeners, certificates=files, admin={"port": admin})


def publish(gateway: Gateway, upstream: Upstream, stack: ExitStack) -> None:
    """An API for each fault."""

    def silent(answer: bytes | None, *, hangs_up: bool) -> str:
        server = Silent(answer, hangs_up=hangs_up)
        stack.callback(server.close)
        return server.address

    not_tls = silent(b"HTTP/1.1 200 OK\r\n\r\n", hangs_up=True)
    closed, other = (f"http://127.0.0.1:{stack.enter_context(closed_port())}" for _ in range(2))
    get = {"method": "GET", "path": "/*"}
    checks = {"http": {"path": "/health"}, "interval": "1s", "timeout": "1s", "unhealthyThreshold": 1}
    unhealthy = api("unhealthy", other)
    unhealthy["spec"]["upstream"]["main"]["healthCheck"] = checks
    for document in (
        api("refusing", closed),
        api("plain", f"https://{not_tls}"),
        api("slow", f"http://{silent(None, hangs_up=False)}", operations=[get | {"requestTimeout": "300ms"}]),
        unhealthy,
        api("orders", upstream.url, operations=[{"method": "GET", "path": "/{id}"}]),
        api("raises", upstream.url, [attach("misbehave", {"how": "raise"})]),
        api("holds", upstream.url, [attach("faulty", {"how": "hold"})]),
    ):
        gateway.deploy(document)
    with gateway.controller() as client:
        answer = client.post("/v1/apis", json=api("unresolved", "http://nowhere.invalid:8080"), params={"wait": "20"})
        assert answer.json()["status"]["state"] == "pending", answer.text


@contextmanager
def run_planted(build: Path, folder: Path, upstream: Upstream) -> Iterator[Node]:
    admin = free_port()
    options = ("--gateway", str(gateway_file(folder, admin)), "--node-id", "node", "--access-log", "/dev/null")
    with ExitStack() as stack:
        gateway = stack.enter_context(running(build, folder / "state", *options))
        publish(gateway, upstream, stack)
        config = deployed.configuration(folder, f"127.0.0.1:{admin}")
        server = stack.enter_context(prometheus(folder, config))
        wait_for(server, "up == 1", 1)
        yield Node(gateway, server)


@pytest.fixture(scope="module")
def reports(
    build: Path, tmp_path_factory: pytest.TempPathFactory, recording_upstream: Upstream
) -> dict[str, dict[str, str]]:
    """The reports on each fault by tool, collected once."""
    with run_planted(build, tmp_path_factory.mktemp("told"), recording_upstream) as node:
        before = [name for name in FAULTS if name != DATABASE]
        node.plant_all()
        node.wait_for_alerts(before)
        node.explain_all()
        node.note_inspector(before)
        node.note_status(before)
        texts = {name: node.reports[name]["status"] for name in before}
        node.damage_database()
        for name in before:
            node.reports[name]["status"] = texts[name]
        return {name: dict(node.reports[name]) for name in FAULTS}


# ------------------------------------------------------------------ what holds


@pytest.mark.parametrize("name", FAULTS)
def test_each_tool_names_party_or_cure_and_one_tool_names_both(reports: dict[str, dict[str, str]], name: str) -> None:
    fault = FAULTS[name]
    silent = {tool for tool in TOOLS if not reports[name][tool]}
    assert silent == set(fault.silent), reports[name]
    marks = {tool: mark_of(fault, reports[name][tool]) for tool in TOOLS if tool not in silent}
    assert "" not in marks.values(), (marks, reports[name])
    assert {"party, cure"} <= set(marks.values()), (marks, reports[name])


@pytest.mark.parametrize("name", FAULTS)
def test_no_tool_claims_that_the_upstream_answered(reports: dict[str, dict[str, str]], name: str) -> None:
    assert not [text for text in reports[name].values() if "by the upstream" in text]


def test_the_page_has_the_reports_of_this_run(
    reports: dict[str, dict[str, str]], request: pytest.FixtureRequest
) -> None:
    page = replace_tables(PAGE.read_text(), reports)
    if request.config.getoption("--update"):
        PAGE.write_text(page)
    assert PAGE.read_text() == page, "pytest --update writes it anew"
