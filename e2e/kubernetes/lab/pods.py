"""Runs the cluster's pods on this machine, as a scheduler and a kubelet of one node do."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from pathlib import Path

from e2e.kubernetes.lab.client import AsyncClient, Json, collection
from e2e.kubernetes.lab.files import sources_of
from e2e.kubernetes.lab.images import Images
from e2e.kubernetes.lab.network import Network
from e2e.kubernetes.lab.pod import RunningPod

NODE = "lab"
NODE_DOCUMENT: Json = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}


@dataclass
class PodRunner:
    """failures: of pods that it could not run for a reason of its own."""

    client: AsyncClient
    network: Network
    images: Images
    folder: Path
    pods: dict[str, RunningPod] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self) -> None:
        """Follows the pods until it is cancelled, and then kills them."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow_pods())
                group.create_task(self._follow_sources("Secret"))
                group.create_task(self._follow_sources("ConfigMap"))
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow_pods(self) -> None:
        async for event, pod in self.client.follow("/api/v1/pods"):
            self._see(event, pod)

    async def _follow_sources(self, kind: str) -> None:
        """Files of volumes follow their Secrets and ConfigMaps at once; a kubelet takes up to a minute or two."""
        async for _, source in self.client.follow(collection("v1", kind)):
            metadata = source["metadata"]
            for pod in self.pods.values():
                if pod.namespace == metadata["namespace"] and (kind, metadata["name"]) in sources_of(pod.document):
                    pod.is_stale = True

    def kill(self, namespace: str, pod: str) -> None:
        """Kills all processes of the pod at once; its containers start again."""
        (found,) = [running for running in list(self.pods.values()) if running.name == f"{namespace}.{pod}"]
        for container in found.containers:
            container.container.kill()

    def output_since(self, namespace: str, pod: str, container: str, since: float) -> bytes | None:
        """What a container has written from this time on, in seconds since the epoch; None where there is none."""
        for running in list(self.pods.values()):
            if running.name == f"{namespace}.{pod}":
                return running.output_since(container, since)
        return None

    def _see(self, event: str, document: Json) -> None:
        uid, phase = document["metadata"]["uid"], document.get("status", {}).get("phase")
        running = self.pods.get(uid)
        if running is None and event != "DELETED" and phase not in {"Succeeded", "Failed"}:
            running = self.pods[uid] = RunningPod(self.client, self.network, self.images, self.folder, document)
            task = asyncio.get_running_loop().create_task(self._run(running))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if running is not None and event == "DELETED":
            running.leave(0)
        elif running is not None and "deletionTimestamp" in document["metadata"]:
            running.leave(document["metadata"].get("deletionGracePeriodSeconds", 0))

    async def _run(self, pod: RunningPod) -> None:
        try:
            await self.client.bind(pod.path, NODE)
            await pod.run()
        except Exception as error:
            self.failures.append(f"{pod.path}: {type(error).__name__}: {error}")
        finally:
            with contextlib.suppress(KeyError):
                del self.pods[pod.uid]
