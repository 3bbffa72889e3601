"""A cluster of one node on this machine: the control plane is Kubernetes' own, pods are programs of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path

from e2e.kit.gateway import eventually
from e2e.kubernetes.lab.client import AsyncClient, Client
from e2e.kubernetes.lab.control_plane import ControlPlane, control_plane
from e2e.kubernetes.lab.images import Images
from e2e.kubernetes.lab.logs import STATUS, log_server
from e2e.kubernetes.lab.network import network
from e2e.kubernetes.lab.pods import NODE_DOCUMENT, PodRunner
from e2e.kubernetes.lab.programs import build_programs
from e2e.kubernetes.lab.services import Services


@dataclass
class Cluster:
    """client: its administrator's. folder: logs and data, in `logs` those of the pods. kubeconfig: a file."""

    client: Client
    folder: Path
    plane: ControlPlane
    runner: PodRunner
    services: Services

    @property
    def kubeconfig(self) -> Path:
        return self.plane.kubeconfig

    def wait_deployed(self, namespace: str, name: str, seconds: float = 60) -> None:
        """Until all replicas of the Deployment are ready."""

        def is_deployed() -> bool:
            assert not self.runner.failures, self.runner.failures
            deployment = self.client.get("apps/v1", "Deployment", name, namespace)
            status = deployment.get("status", {})
            is_seen: bool = status.get("observedGeneration") == deployment["metadata"]["generation"]
            return is_seen and int(status.get("readyReplicas", 0)) == deployment["spec"]["replicas"]

        eventually(f"Deployment {namespace}/{name} is ready ({self.folder})", is_deployed, seconds)

    def pod_addresses(self, namespace: str, **labels: str) -> list[str]:
        """Of the pods that have these labels."""
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        pods = self.client.list("v1", "Pod", namespace, labelSelector=selector)
        return [pod["status"]["podIP"] for pod in pods]


@contextlib.contextmanager
def cluster(images: Images, logs: Path) -> Iterator[Cluster]:
    """Made for the block, with nothing in it but its node. The calling thread is in its network meanwhile.

    logs: a folder that has the logs of all of its processes afterwards.
    """
    build_programs()
    with tempfile.TemporaryDirectory(prefix="gwk") as name, network() as pod_network:
        folder = Path(name)
        (folder / "logs").mkdir()
        with control_plane(folder) as plane:
            plane.client.apply(NODE_DOCUMENT)
            plane.client.merge_status(NODE_DOCUMENT, STATUS)
            client = AsyncClient(plane.client)
            runner = PodRunner(client, pod_network, images, folder)
            services = Services(client)
            try:
                pair = folder / "apiserver.pem", folder / "apiserver.key"
                with log_server(*pair, runner.output_since), _beside(client.close, runner.run, services.run):
                    yield Cluster(plane.client, folder, plane, runner, services)
            finally:
                _keep_logs(folder, logs)


def _keep_logs(folder: Path, logs: Path) -> None:
    shutil.rmtree(logs, ignore_errors=True)
    shutil.copytree(folder / "logs", logs)
    for file in folder.glob("*.log"):
        shutil.copy(file, logs)


@contextlib.contextmanager
def _beside(
    close: Callable[[], Coroutine[None, None, None]], *runs: Callable[[], Coroutine[None, None, None]]
) -> Iterator[None]:
    """Runs them in a thread of their own during the block. Where one ends by itself, the block's end fails."""
    started, loop_of = threading.Event(), list[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]]()
    errors: list[BaseException] = []

    async def run_all() -> None:
        task = asyncio.current_task()
        assert task
        loop_of.append((asyncio.get_running_loop(), task))
        started.set()
        try:
            async with asyncio.TaskGroup() as group:
                for run in runs:
                    group.create_task(run())
        except* asyncio.CancelledError:
            pass
        finally:
            await close()

    def main() -> None:
        try:
            asyncio.run(run_all())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=main, name="cluster")
    thread.start()
    started.wait()
    try:
        yield
    finally:
        loop, task = loop_of[0]
        with contextlib.suppress(RuntimeError):  # it has ended by itself
            loop.call_soon_threadsafe(task.cancel)
        thread.join()
    if errors:
        raise errors[0]
