"""One pod: its network and volumes, its containers, their restarts and probes, its status, its end."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from e2e.kubernetes.lab.client import AsyncClient, Json, collection
from e2e.kubernetes.lab.container import Container
from e2e.kubernetes.lab.files import write_volume
from e2e.kubernetes.lab.images import Images, image_named
from e2e.kubernetes.lab.launch import launch_of
from e2e.kubernetes.lab.network import HOST, Namespace, Network
from e2e.kubernetes.lab.probes import Probe

LOOK_SECONDS = 0.2
"""How often it looks after its containers and probes."""
LATER_SECONDS = 1.0
"""Until it tries again what a pod lacks, such as a Secret, and until a container that has ended starts again."""


@dataclass
class Running:
    """A container of the pod, with what its probes have said since it started."""

    spec: Json
    container: Container
    probes: dict[str, Probe]
    restarts: int = 0
    restart_at: float | None = None

    @property
    def has_started(self) -> bool:
        startup = self.probes.get("startupProbe")
        return self.container.exit_code is None and (startup is None or startup.has_succeeded)

    @property
    def is_ready(self) -> bool:
        readiness = self.probes.get("readinessProbe")
        return self.has_started and (readiness is None or readiness.has_succeeded)

    async def probe(self, client: httpx.AsyncClient) -> None:
        """The startup probe alone until it has succeeded. A container that fails it or its liveness probe is killed."""
        names = ("readinessProbe", "livenessProbe") if self.has_started else ("startupProbe",)
        for name in names:
            if name in self.probes:
                await self.probes[name].attempt(client, time.monotonic())
                if self.probes[name].has_failed and name != "readinessProbe":
                    self.container.kill()

    def status(self) -> Json:
        code = self.container.exit_code
        state: Json = {"running": {}} if code is None else {"terminated": {"exitCode": code}}
        return {
            "name": self.spec["name"], "image": self.spec["image"], "imageID": self.spec["image"], "state": state,
            "ready": self.is_ready, "started": self.has_started, "restartCount": self.restarts,
        }  # fmt: skip


@dataclass
class RunningPod:
    client: AsyncClient
    network: Network
    images: Images
    folder: Path
    document: Json
    containers: list[Running] = field(default_factory=list)
    written: dict[str, list[tuple[float, int]]] = field(default_factory=dict)
    """Of each container: how long its output was, and when that was seen first."""
    is_stale: bool = False
    """Whether a Secret or ConfigMap of its volumes has changed since they were written."""
    _leaving: asyncio.Event = field(default_factory=asyncio.Event)
    _grace: float = 0.0
    _written: Json = field(default_factory=dict)
    _address: str = ""

    @property
    def uid(self) -> str:
        uid: str = self.document["metadata"]["uid"]
        return uid

    @property
    def namespace(self) -> str:
        namespace: str = self.document["metadata"]["namespace"]
        return namespace

    @property
    def name(self) -> str:
        metadata = self.document["metadata"]
        return f"{metadata['namespace']}.{metadata['name']}"

    @property
    def path(self) -> str:
        metadata = self.document["metadata"]
        return f"{collection('v1', 'Pod', metadata['namespace'])}/{metadata['name']}"

    @property
    def address(self) -> str:
        return self._address

    def leave(self, grace: float) -> None:
        """Ends the pod in at most these seconds."""
        self._grace = grace
        self._leaving.set()

    async def run(self) -> None:
        """Until it is deleted."""
        home = self.folder / "pods" / self.uid
        namespace = Namespace()
        try:
            self._address = self.network.join(namespace)
            async with httpx.AsyncClient(verify=False) as client:  # noqa: S501 - probes check no certificate
                await self._start(namespace, home)
                while not self._leaving.is_set():
                    await self._look(client, namespace, home)
                    await self._pause(LOOK_SECONDS)
            await asyncio.gather(*(running.container.stop(self._grace) for running in self.containers))
            options = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}}
            await self.client.delete(self.path, options)
        finally:
            for running in self.containers:
                running.container.kill()
                await running.container.wait()
            namespace.close()
            shutil.rmtree(home, ignore_errors=True)

    async def _start(self, namespace: Namespace, home: Path) -> None:
        """Tries until its images, volumes and variables are all there."""
        while not self._leaving.is_set():
            try:
                await self._prepare(home)
                for spec in self.document["spec"]["containers"]:
                    self.containers.append(await self._launch(spec, namespace, home, 0))
                return
            except LookupError as error:
                await self._write({"phase": "Pending", "conditions": _conditions(False, str(error))})
                shutil.rmtree(home, ignore_errors=True)
                await self._pause(LATER_SECONDS)

    async def _prepare(self, home: Path) -> None:
        spec = self.document["spec"]
        assert "initContainers" not in spec, f"{self.name}: the lab runs no init containers"
        for container in spec["containers"]:
            if image_named(container["image"], self.images) is None:
                raise LookupError(f"no image {container['image']}: the lab has {', '.join(sorted(self.images))}")
        await self._write_volumes(home)

    async def _write_volumes(self, home: Path) -> None:
        claims = self.folder / "claims"
        for volume in self.document["spec"].get("volumes", []):
            await write_volume(self.client, self.document, volume, home / "volumes" / volume["name"], claims)

    async def _launch(self, spec: Json, namespace: Namespace, home: Path, restarts: int) -> Running:
        image = image_named(spec["image"], self.images)
        assert image is not None
        launch = await launch_of(self.client, self.document, spec, image, self._address, home / "volumes")
        folder = home / spec["name"] / str(restarts)
        container = await Container.start(launch, namespace, folder, self.log_of(spec["name"]))
        ports = {port["name"]: port["containerPort"] for port in spec.get("ports", []) if "name" in port}
        names = [name for name in ("startupProbe", "readinessProbe", "livenessProbe") if name in spec]
        return Running(spec, container, {name: Probe(spec[name], self._address, ports) for name in names}, restarts)

    def log_of(self, container: str) -> Path:
        """Of all its runs."""
        return self.folder / "logs" / f"{self.name}.{container}.log"

    def output_since(self, container: str, since: float) -> bytes | None:
        """What the container has written from this time on, in seconds since the epoch."""
        log = self.log_of(container)
        if not log.exists():
            return None
        sizes = [size for time_seen, size in self.written.get(container, []) if time_seen < since]
        return log.read_bytes()[sizes[-1] if sizes else 0 :]

    def _note_output(self) -> None:
        for running in self.containers:
            name, size = running.spec["name"], self.log_of(running.spec["name"]).stat().st_size
            seen = self.written.setdefault(name, [])
            if not seen or seen[-1][1] != size:
                seen.append((time.time(), size))

    async def _look(self, client: httpx.AsyncClient, namespace: Namespace, home: Path) -> None:
        """Probes the containers, starts those again that have ended, and writes what has changed."""
        if self.is_stale:
            self.is_stale = False
            with contextlib.suppress(LookupError):  # a kubelet keeps the files of a Secret that is away
                await self._write_volumes(home)
        self._note_output()
        await asyncio.gather(*(running.probe(client) for running in self.containers))
        for index, running in enumerate(self.containers):
            if running.container.exit_code is None:
                continue
            if running.restart_at is None:
                running.restart_at = time.monotonic() + LATER_SECONDS
            elif time.monotonic() > running.restart_at:
                self.containers[index] = await self._launch(running.spec, namespace, home, running.restarts + 1)
        is_ready = all(running.is_ready for running in self.containers)
        statuses = [running.status() for running in self.containers]
        await self._write({"phase": "Running", "conditions": _conditions(is_ready), "containerStatuses": statuses})

    async def _write(self, status: Json) -> None:
        if status == self._written:
            return
        self._written = status
        addresses = {"podIP": self._address, "podIPs": [{"ip": self._address}], "hostIP": HOST}
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        conditions = [{"lastTransitionTime": now} | condition for condition in status["conditions"]]
        await self.client.merge(f"{self.path}/status", {"status": {**addresses, **status, "conditions": conditions}})

    async def _pause(self, seconds: float) -> None:
        """Ends early where the pod is to leave."""
        try:
            await asyncio.wait_for(self._leaving.wait(), seconds)
        except TimeoutError:
            return


def _conditions(is_ready: bool, message: str = "") -> list[Json]:
    status = "True" if is_ready else "False"
    why = {"message": message} if message else {}
    known = [{"type": kind, "status": "True"} for kind in ("PodScheduled", "Initialized")]
    return [*known, *({"type": kind, "status": status, **why} for kind in ("ContainersReady", "Ready"))]
