"""A whole gateway under test: it is started by our own command and observed by its output and its sockets."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

Json = dict[str, Any]
READY_SECONDS, BUILD_SECONDS = 120.0, 600.0
"""Upper bounds, far above the usual time: of a start, and of a start that builds and compiles first."""


SHORTEST_PAUSE, LONGEST_PAUSE, LONGER = 0.01, 1.0, 1.2
"""The pause between two checks of a condition grows to a sixth of the time waited so far."""


def eventually(what: str, condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Waits until the condition holds; fails with `what` when it does not within the bound.

    The longer it has waited, the less often it checks: most checks are requests, which take CPU from the gateway.
    """
    end, pause = time.monotonic() + seconds, SHORTEST_PAUSE
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(pause)
        pause = min(pause * LONGER, LONGEST_PAUSE)


def credentials(run_dir: Path) -> dict[str, str]:
    """The headers that authenticate at a run's management API."""
    return {"authorization": f"Bearer {(run_dir / 'management-token').read_text().strip()}"}


class Gateway:
    """`gatewright run`, its management API, and its log. Without a build, `arguments` say what to build.

    within: words before the command, such as `setpriv …`. run_dir: the run directory, by default a new one.
    """

    def __init__(
        self, build: Path | None, state: Path, *arguments: str, within: Sequence[str] = (), run_dir: Path | None = None
    ) -> None:
        self.run_dir = run_dir or Path(tempfile.mkdtemp(prefix="gw-"))
        self._start_seconds = READY_SECONDS if build else BUILD_SECONDS
        self.log: list[str] = []
        self.printed: list[str] = []
        self._parsed: tuple[list[Json | None], list[Json | None]] = (
            [],
            [],
        )  # the lines of each that are parsed already
        self._parsing = threading.Lock()
        self._ready = threading.Event()
        command = [
            *within, "gatewright", "run", *(["--build", str(build)] if build else []),
            "--port", "0", "--controller-port", "0",
            "--run-dir", str(self.run_dir), "--state-dir", str(state), "--log-format", "json", *arguments,
        ]  # fmt: skip
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, self.printed), daemon=True),
            threading.Thread(target=self._read, args=(self.process.stderr, self.log), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, pipe: Any, lines: list[str]) -> None:
        for raw in pipe:
            lines.append(raw.decode(errors="replace").rstrip("\n"))
            if lines is self.printed and lines[-1].startswith("ready "):
                self._ready.set()
        pipe.close()

    def wait_ready(self) -> Gateway:
        end = time.monotonic() + self._start_seconds
        while not self._ready.wait(0.05):
            assert self.process.poll() is None, "ended before it was ready:\n" + "\n".join(self.log[-40:])
            assert time.monotonic() < end, "not ready in time:\n" + "\n".join(self.log[-40:])
        return self

    def wait_printed(self, text: str) -> None:
        """Waits for a line with this text: those that follow the first one come while a test already goes on."""
        eventually(f"{text!r} is printed", lambda: any(text in line for line in list(self.printed)))

    @property
    def url(self) -> str:
        return next(line.split()[1] for line in self.printed if line.startswith("ready "))

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def status(self) -> Json:
        status: Json = json.loads((self.run_dir / "status.json").read_text())
        return status

    def process_status(self, name: str) -> Json:
        processes: list[Json] = [process for process in self.status()["processes"] if process["name"] == name]
        assert processes, f"no process {name}: {[process['name'] for process in self.status()['processes']]}"
        return processes[0]

    def executors(self) -> list[Json]:
        """The processes that serve Python policies now, without those that drain."""
        processes: list[Json] = self.status()["processes"]
        return [
            process
            for process in processes
            if "generation" in process and not process["leaving"] and process["state"] == "ready"
        ]

    def reload(self, seconds: float = 120.0) -> subprocess.CompletedProcess[str]:
        command = ["gatewright", "reload", "--run-dir", str(self.run_dir)]
        return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)

    def pid(self, name: str) -> int | None:
        """None while the process is down."""
        pid: int | None = self.process_status(name)["pid"]
        return pid

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        pid = self.pid(name)
        assert pid is not None, f"{name} is down"
        os.kill(pid, number)
        return pid

    def controller(self) -> httpx.Client:
        address = self.process_status("controller")["listen"]
        return httpx.Client(base_url=f"http://{address}", headers=credentials(self.run_dir), timeout=30)

    def deploy(self, api: Json) -> None:
        """Creates or replaces the API and returns when it is deployed."""
        name = api["metadata"]["name"]
        with self.controller() as client:
            exists = client.get(f"/v1/apis/{name}").status_code == 200
            answer = client.request(
                "PUT" if exists else "POST",
                f"/v1/apis/{name}" if exists else "/v1/apis",
                json=api,
                params={"wait": "15"},
            )
            assert answer.status_code in {200, 201}, answer.text
            state = client.get(f"/v1/apis/{name}/status").json()
        assert state["state"] == "deployed", state

    def remove(self, name: str) -> None:
        """Deletes the API and returns when it is gone."""
        with self.controller() as client:
            answer = client.delete(f"/v1/apis/{name}", params={"wait": "15"})
            assert answer.status_code == 204, answer.text

    def admin(self, name: str, path: str) -> str:
        """The answer of the admin socket of `engine` or `envoy`."""
        socket = {"engine": "engine-admin.sock", "envoy": "envoy-admin.sock"}[name]
        transport = httpx.HTTPTransport(uds=str(self.run_dir / socket))
        with httpx.Client(transport=transport, base_url="http://admin") as client:
            return client.get(path).text

    def envoy_stat(self, name: str) -> int:
        lines = self.admin("envoy", f"/stats?filter={name}").splitlines()
        return sum(int(line.rsplit(" ", 1)[1]) for line in lines)

    def cluster_stat(self, api: str, counter: str) -> int:
        """The sum of one of Envoy's counters over all clusters of the API."""
        clusters = json.loads(self.admin("engine", "/clusters"))[api]
        return sum(self.envoy_stat(f"cluster.{name}.{counter}$".replace("|", "%5C%7C")) for name in clusters)

    def records(self) -> Iterator[Json]:
        """All log records as JSON objects, those of the access log included."""
        with self._parsing:  # tests poll until a line is there
            for lines, parsed in zip((self.log, self.printed), self._parsed, strict=True):
                parsed += [json.loads(line) if line.startswith("{") else None for line in lines[len(parsed) :]]
            records = [record for parsed in self._parsed for record in parsed if record is not None]
        yield from records

    def is_busy(self, api: str) -> bool:
        """Whether a policy of the API is being executed."""
        chains = [chain for chain in json.loads(self.admin("engine", "/chains")) if chain["api"] == api]
        return any(instance["active"] for chain in chains for instance in chain["instances"])

    def find_records(self, **fields: object) -> list[Json]:
        """The log records that have all these fields."""
        return [record for record in self.records() if all(record.get(k) == v for k, v in fields.items())]

    def access_records(self, api: str) -> list[Json]:
        """The access log records of requests to the API's paths, in their order."""
        records = self.find_records(component="access")
        return [record for record in records if str(record.get("path", "")).startswith(f"/{api}/")]

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=30)
            finally:
                if self.process.poll() is None:
                    os.killpg(self.process.pid, signal.SIGKILL)
        for reader in self._readers:
            reader.join(timeout=5)
        return self.process.wait()


@contextmanager
def running(
    build: Path | None, state: Path, *arguments: str, within: Sequence[str] = (), run_dir: Path | None = None
) -> Iterator[Gateway]:
    gateway = Gateway(build, state, *arguments, within=within, run_dir=run_dir)
    try:
        yield gateway.wait_ready()
    finally:
        gateway.stop()


def mistakes_of(gateway: Gateway, definition: Json) -> dict[str, str]:
    """Creates an API that the controller must refuse; the mistakes by field."""
    with gateway.controller() as client:
        answer = client.post("/v1/apis", json=definition)
        assert answer.status_code == 422, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert client.get(f"/v1/apis/{definition['metadata']['name']}").status_code == 404
    return {error["field"]: error["message"] for error in answer.json()["errors"]}


_numbers = itertools.count(1)
UNKNOWN = "nowhere"
"""The name that no API has, in any test: files share gateways, on which APIs stay."""


def fresh_name(name: str) -> str:
    """A name that nothing in this process had before: counters and logs of a gateway outlive a test, and a second try
    of it.
    """
    return f"{name}-{next(_numbers)}"


def api(name: str, upstream: str, policies: list[Json] | None = None, operations: list[Json] | None = None) -> Json:
    """An API definition at /NAME, by default with GET and POST on any path."""
    assert name != UNKNOWN, f"expected another name than {UNKNOWN!r}: tests ask at /{UNKNOWN} for what no API has"
    anything = [{"method": method, "path": "/*"} for method in ("GET", "POST")]
    return {
        "apiVersion": "gatewright.dev/v1",
        "kind": "Api",
        "metadata": {"name": name},
        "spec": {
            "displayName": name,
            "version": "v1.0",
            "context": f"/{name}",
            "upstream": {"main": {"url": upstream}},
            "policies": policies or [],
            "operations": operations or anything,
        },
    }


def attach(name: str, params: Json | None = None, **settings: object) -> Json:
    """A policy attachment of major version v1."""
    return {"name": name, "version": "v1", "params": params or {}, **settings}
