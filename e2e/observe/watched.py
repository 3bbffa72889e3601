"""A gateway that a Prometheus watches: through traffic that is counted, then through each fault that an alert is for.

Each fault lasts until its alerts fire, and is then undone.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from e2e.kit.answers import Answer
from e2e.kit.certificates import DAY, authority
from e2e.kit.closed_port import closed_port
from e2e.kit.gateway import Gateway, Json, api, attach, eventually, running
from e2e.kit.listening import free_port
from e2e.kit.load import Flow, run_load
from e2e.kit.policy_project import PolicyProject
from e2e.kit.prometheus.server import Prometheus
from e2e.kit.traffic import traffic
from e2e.kit.upstream import Upstream
from e2e.observe import watched_policies

FIRES_SECONDS = 90.0
SENT_SECONDS = 0.3
"""After which a request has come to its policy, which is busy for longer."""
OPTIONS = (
    "--py.hung-seconds", "1", "--hung-limit", "3", "--py.workers", "4", "--py.max-workers", "4",
    "--body-memory", "1MiB", "--access-log", "/dev/null",
)  # fmt: skip
COUNTED = (
    Flow("go", "/go/x", rate=40.0, count=400),
    Flow("paced", "/paced/x", rate=20.0, count=200),
    Flow("failing", "/failing/x", rate=20.0, count=200),
)
CERTIFICATE = "edge"
FEWEST_SERIES = 100
JOB = "gatewright"
PAUSES = (0.015,) * 24 + (0.06,) * 12 + (0.2,) * 4
"""Seconds that requests to `measured` ask its policy to sleep: far from the bounds of buckets."""


@dataclass(frozen=True)
class PacedRequest:
    """A request that asked for a pause: seconds of the policy's own clock, and of the client's."""

    worked: float
    took: float


@dataclass
class Watched:
    """The results once all has happened. counted: the load generator's answers. paced: requests with pauses. started,
    calm and ended: seconds since the epoch, before all of it, after the counted requests, after the faults."""

    gateway: Gateway
    prometheus: Prometheus
    counted: list[Answer]
    paced: list[PacedRequest]
    started: float
    calm: float = 0.0
    ended: float = 0.0


@contextmanager
def gateway_with_tls(folder: Path, project: PolicyProject) -> Iterator[tuple[Gateway, str]]:
    """Listens with TLS too, with a certificate that ends within a day; and HOST:PORT of its admin listener."""
    chain, key = authority(folder).issue(CERTIFICATE, "127.0.0.1", lived=60 * DAY)
    https = {"name": "https", "port": free_port(), "protocol": "https", "tls": {"certificates": [CERTIFICATE]}}
    admin = free_port()
    with running(None, folder / "state", *project.arguments, *OPTIONS) as gateway:
        document = gateway_document(gateway)
        document["spec"]["listeners"].append(https)
        document["spec"]["certificates"] = {CERTIFICATE: {"certificateFile": str(chain), "keyFile": str(key)}}
        document["spec"]["admin"] = {"port": admin}
        put_gateway(gateway, document, wait=True)
        yield gateway, f"127.0.0.1:{admin}"


def gateway_document(gateway: Gateway) -> Json:
    """The Gateway document of its controller."""
    with gateway.controller() as controller:
        document: Json = controller.get("/v1/gateway").json()
    document.pop("status")
    return document


def put_gateway(gateway: Gateway, document: Json, wait: bool) -> None:
    """wait: until it is deployed; else the outcome is not awaited."""
    with gateway.controller() as controller:
        answer = controller.put("/v1/gateway", json=document, params={"wait": "15"} if wait else {})
    assert answer.is_success, answer.text
    assert not wait or answer.json()["status"]["state"] == "deployed", answer.text


def deploy(gateway: Gateway, upstream: Upstream) -> None:
    """Deploys all served APIs. Each faulty policy that slows or ends its process has a group of its own."""
    own: dict[str, list[Json]] = {
        "go": [
            attach("add-headers", {"requestHeaders": [{"name": "x-go", "value": "1"}]}),
            attach("whole", mode="shadow"),
        ],
        "paced": [attach("paced")],
        "measured": [attach("paced")],
        "failing": [attach("fails", {"how": "raise"})],
        "passing": [attach("fails", {"how": "raise"}, onError="continue")],
        "crashing": [attach("crashes", {"how": "exit"})],
        "slow": [attach("slow", {"how": "sleep", "seconds": 0.7}, timeout="5s", maxConcurrency=8)],
        "late": [attach("slow", {"how": "sleep", "seconds": 0.3}, timeout="100ms")],
        "hanging": [attach("hangs", {"how": "sleep", "seconds": 3600}, timeout="200ms", maxConcurrency=4)],
        "whole": [attach("whole")],
    }
    for name, attached in own.items():
        gateway.deploy(api(name, upstream.url, attached))


def count(gateway: Gateway, tool: Path) -> list[Answer]:
    """Sends the counted flows, and returns with their last answer."""
    with run_load(tool, f"127.0.0.1:{gateway.port}", COUNTED) as load:
        return load.finish(120)


def pace(gateway: Gateway) -> list[PacedRequest]:
    """Sends one request after the other, so that none waits for another."""
    answers = []
    with httpx.Client(base_url=gateway.url, timeout=30) as client:
        for pause in PAUSES:
            start = time.perf_counter()
            answer = client.get("/measured/x", headers={"x-seconds": f"{pause}"})
            took = time.perf_counter() - start
            assert answer.status_code == 200, answer.text
            answers.append(PacedRequest(float(answer.headers["x-worked"]), took))
    return answers


def firing(prometheus: Prometheus) -> set[str]:
    """Names of alerts: those of the job as deploy/ has it, and those of no job."""
    labels = [alert["labels"] for alert in prometheus.firing()]
    return {alert["alertname"] for alert in labels if alert.get("job", JOB) == JOB}


class Faults:
    """Causes them, one after the other; `run` does."""

    def __init__(
        self, gateway: Gateway, prometheus: Prometheus, upstream: Upstream, project: PolicyProject, tool: Path
    ):
        self.gateway, self.prometheus, self.upstream = gateway, prometheus, upstream
        self.project, self.tool = project, tool

    def run(self) -> None:
        faults: Sequence[Callable[[], None]] = (
            self.reload,
            self.errors,
            self.crash,
            self.slowness,
            self.hang,
            self.bodies,
            self.upstreams,
            self.unserved,
            self.refused_listener,
            self.many_series,
            self.certificate_files,
            self.controller_away,
            self.no_database,
        )
        for fault in faults:
            fault()

    def fires(self, *names: str) -> None:
        """Waits until these are firing."""
        expected = set(names)

        def missing() -> set[str]:
            return expected - firing(self.prometheus)

        try:
            eventually("they fire", lambda: not missing(), FIRES_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"do not fire: {sorted(missing())}") from error

    def get(self, path: str) -> int:
        return httpx.get(f"{self.gateway.url}{path}", timeout=30).status_code

    def reload(self) -> None:
        """Crashes: one that is served, and one that is refused."""
        watched_policies.change(self.project)
        result = self.gateway.reload()
        assert result.returncode == 0, result.stdout + result.stderr
        assert httpx.get(f"{self.gateway.url}/paced/x").headers["x-version"] == "2"
        watched_policies.damage(self.project)
        assert self.gateway.reload().returncode == 1
        self.fires("GatewrightReloadFails")
        watched_policies.change(self.project)

    def errors(self) -> None:
        """The counted flows have left a fifth of all answers as 500. Adds a policy that may fail, and is late."""
        assert [self.get("/passing/x") for _ in range(5)] == [200] * 5
        assert [self.get("/late/x") for _ in range(3)] == [504] * 3
        self.fires("GatewrightErrorsToClients", "GatewrightPolicyFails")

    def crash(self) -> None:
        """Again and again, until it is under quarantine."""
        with self.asking("/crashing/x"):
            self.fires("GatewrightPolicyQuarantined")

    def slowness(self) -> None:
        """Clients that leave; then three times as much as four workers can do. The policy may have eight executions, so
        that four wait for a worker."""
        self.leave("/slow/x")
        with run_load(self.tool, f"127.0.0.1:{self.gateway.port}", [Flow("slow", "/slow/x", 20.0)]) as load:
            load.flowing()
            self.fires("GatewrightOverloaded", "GatewrightPolicySlow", "GatewrightPolicyWaits", "GatewrightWorkersBusy")
            assert {answer.status for answer in load.stop()} == {200, 503}

    def leave(self, path: str) -> None:
        """Three clients go away before their answers come."""
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", self.gateway.port), timeout=30) as client:
                client.sendall(f"GET {path} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
                time.sleep(SENT_SECONDS)

    def hang(self) -> None:
        """Sends one call that hangs, and then as many as lead to a replacement of the process."""
        assert self.get("/hanging/x") == 504
        self.fires("GatewrightExecutionsHang")
        assert {self.get("/hanging/x") for _ in range(2)} <= {503, 504}
        eventually("it is replaced", lambda: self.gateway.find_records(message="executor replaced"), 60)

    def bodies(self) -> None:
        """More than there is room for, of clients that do not end."""
        head = b"POST /whole/x HTTP/1.1\r\nhost: a\r\ncontent-length: 400000\r\n\r\n"
        with ExitStack() as stack:
            for _ in range(3):
                client = stack.enter_context(socket.create_connection(("127.0.0.1", self.gateway.port), timeout=30))
                client.sendall(head + b"x" * 390_000)
            self.fires("GatewrightBodiesRefused")

    def upstreams(self) -> None:
        """Upstreams: one that refuses connections, one that fails its health checks, and one that never answers."""
        with closed_port() as port, socket.create_server(("127.0.0.1", 0)) as silent:
            away = f"http://127.0.0.1:{port}"
            self.deploy("away", away, retries=True)
            self.deploy("silent", f"http://127.0.0.1:{silent.getsockname()[1]}", requestTimeout="200ms")
            checks = {"http": {"path": "/health"}, "interval": "1s", "timeout": "1s", "unhealthyThreshold": 1}
            self.deploy("checked", away, upstream={"main": {"url": away, "healthCheck": checks}})
            assert [self.get("/silent/x") for _ in range(3)] == [504] * 3
            with self.asking("/away/x"):
                self.fires("GatewrightUpstreamDown", "GatewrightUpstreamUnreachable", "GatewrightUpstreamFails")

    def deploy(self, name: str, url: str, **spec: object) -> None:
        document = api(name, url)
        self.gateway.deploy(document | {"spec": document["spec"] | spec})

    @contextmanager
    def asking(self, path: str) -> Iterator[None]:
        """Sends one request after the other until the block ends; all are answered 503."""
        with traffic(f"{self.gateway.url}{path}", clients=1, pause=0.2) as (flow,):
            yield
        assert flow.counts().keys() == {503}, flow.problems[:3]

    def unserved(self) -> None:
        """An API whose policy cannot be prepared."""
        document = api("unserved", self.upstream.url, [attach("fails", {"how": "prepare"})])
        with self.gateway.controller() as controller:
            assert controller.post("/v1/apis", json=document).status_code == 201
            self.fires("GatewrightApiNotServed")
            assert controller.delete("/v1/apis/unserved", params={"wait": "15"}).is_success

    def refused_listener(self) -> None:
        """A listener at a port that another process has."""
        before = gateway_document(self.gateway)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            listener = {"name": "taken", "port": taken.getsockname()[1]}
            spec = before["spec"] | {"listeners": [*before["spec"]["listeners"], listener]}
            put_gateway(self.gateway, before | {"spec": spec}, wait=False)
            self.fires("GatewrightEnvoyRefuses")
            put_gateway(self.gateway, before, wait=True)

    def many_series(self) -> None:
        """More operations than a metric may have series."""
        document = gateway_document(self.gateway)
        document["spec"]["metrics"] = {"maxSeries": FEWEST_SERIES}
        put_gateway(self.gateway, document, wait=True)
        operations = [{"method": "GET", "path": f"/{number}"} for number in range(FEWEST_SERIES + 10)]
        self.gateway.deploy(api("many", self.upstream.url, [attach("paced")], operations))
        with httpx.Client(base_url=self.gateway.url, timeout=30) as client:
            for operation in operations:
                client.get(f"/many{operation['path']}")
        self.fires("GatewrightSeriesLimit")

    def certificate_files(self) -> None:
        """Damages the files of a listener's only certificate: at first the old one is served, then none."""
        files = gateway_document(self.gateway)["spec"]["certificates"][CERTIFICATE]
        chain = Path(files["certificateFile"])
        content = chain.read_text()
        chain.write_text("hello")
        self.fires("GatewrightCertificateFilesFail")
        self.gateway.kill("engine")
        self.fires("GatewrightListenerClosed")
        chain.write_text(content)
        eventually("it is open", lambda: not self.prometheus.query("gatewright_listener_closed == 1"), 60)

    def controller_away(self) -> None:
        """It ends, and does not get ready without its token."""
        token = self.gateway.run_dir / "management-token"
        kept_token = token.rename(token.with_suffix(".kept"))
        self.gateway.kill("controller")
        self.fires("GatewrightProcessDown", "GatewrightControllerAway")
        again = 'ALERTS{alertname="GatewrightProcessRestarts", alertstate="firing", component="controller"}'
        eventually("it is started again and again", lambda: self.prometheus.query(again), FIRES_SECONDS)
        kept_token.rename(token)
        eventually("it is back", lambda: self.prometheus.query("min(gatewright_process_up) == 1"), 60)

    def no_database(self) -> None:
        """The controller starts again, and something else is in the place of its database."""
        state = Path(self.gateway.status()["stateDir"])
        kept_database = state / "kept"
        kept_database.mkdir()
        files = [file.rename(kept_database / file.name) for file in state.glob("controller.db*")]
        (state / "controller.db").write_text("no database" * 100)
        self.gateway.kill("controller")
        self.fires("GatewrightControllerDatabase")
        for file in files:
            file.replace(state / file.name)
        eventually("it is open", lambda: self.prometheus.query("min(gatewright_controller_database_open) == 1"), 60)
