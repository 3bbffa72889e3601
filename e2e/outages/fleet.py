"""A controller, and three nodes that have joined it over the network, each with its traffic."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from e2e.kit.certificates import Authority, authority
from e2e.kit.cut_network import CutNetwork, running_network
from e2e.kit.listening import free_port
from e2e.kit.load import run_checking_upstream
from e2e.kit.namespaces import HERE, Namespace, namespace, skip_reason
from e2e.outages.report import Result
from e2e.outages.stage import serves_at_least, site_of, wait_for
from e2e.outages.timeline import Timeline
from e2e.outages.traffic import Target, Traffic, nothing
from e2e.outages.writers import Journal, Site, put

NAMES = ("orders", "stock")
RATE = 50.0
WRITE_SECONDS = 0.25
NO_VARIABLE = "GATEWRIGHT_CONTROLLER_LOG_LEVEL=info"


@dataclass
class Fleet:
    """The hub, whose controller nodes join, and the nodes, each with its traffic."""

    tool: Path
    build: Path
    folder: Path
    signer: Authority
    upstream: str
    network: CutNetwork
    namespace: Namespace | None
    """Of a network, for a node that is to be cut off; None where this machine makes none."""
    port: int
    """Where nodes join."""
    stack: contextlib.ExitStack
    hub: Site = field(init=False)
    nodes: dict[str, Site] = field(default_factory=dict)
    traffic: dict[str, Traffic] = field(default_factory=dict)
    timeline: Timeline = field(default_factory=Timeline)
    journal: Journal = field(default_factory=Journal)
    results: list[Result] = field(default_factory=list)
    count: int = 0
    turn: threading.Lock = field(default_factory=threading.Lock)
    """Of the write that is under way: stamps are written in their order."""

    def start_hub(self) -> None:
        """With the state that it had."""
        certificate, key = self.folder / "controller.pem", self.folder / "controller.key"
        tls = "--controller-tls-certificate", str(certificate), "--controller-tls-key", str(key)
        host = "0.0.0.0" if self.namespace else "127.0.0.1"  # noqa: S104 - the namespace's address is no loopback
        listen = "--nodes-listen", f"{host}:{self.port}"
        site = site_of("hub", self.build, self.folder, NO_VARIABLE, self.upstream, *tls, *listen)
        self.hub = replace(self.stack.enter_context(site), authority=self.signer.file)

    def start_node(self, name: str, address: str, namespace: Namespace | None = None) -> None:
        """It joins at this HOST:PORT; with the state that a node of this name had."""
        token, trust = str(self.folder / "token"), str(self.signer.file)
        join = "--join", address, "--join-authority", trust, "--join-token-file", token
        site = site_of(name, self.build, self.folder, NO_VARIABLE, self.upstream, *join, namespace=namespace)
        node = self.stack.enter_context(site)
        if namespace:
            visitor = self.stack.enter_context(ThreadPoolExecutor(1, initializer=namespace.enter))
            node = replace(node, visitor=visitor)
        self.nodes[name] = node

    def load(self, name: str) -> None:
        """Sends requests to the node from now on."""
        node = self.nodes[name]
        targets = [Target(name, node.gateway.port, f"/{api}/x") for api in NAMES]
        enter = self.namespace.enter if self.namespace and node.visitor else nothing
        self.traffic[name] = Traffic(targets, RATE, network=enter)
        self.traffic[name].start()

    def write(self) -> str:
        """A new stamp for all APIs, acknowledged; the stamp."""
        with self.turn, self.hub.client() as client:
            self.count += 1
            stamp = str(self.count)
            for name in NAMES:
                write = put(self.hub, client, name, stamp, 0, self.journal)
                assert write.outcome == "acknowledged", write
        return stamp

    def converged(self, stamp: str, names: Sequence[str], since: float) -> float:
        """Seconds from then until these nodes serve the stamp, or one that was written after it."""
        for name in names:
            node = self.nodes[name]
            for api in NAMES:
                wait_for(f"{name} serves {stamp}", partial(serves_at_least, node, api, stamp))
        return time.time() - since

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Writes again and again meanwhile."""
        ended = threading.Event()

        def write() -> None:
            while not ended.wait(WRITE_SECONDS):
                self.write()

        thread = threading.Thread(target=write)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


@contextlib.contextmanager
def fleet(tool: Path, build: Path) -> Iterator[Fleet]:
    """A hub and three nodes with all APIs, under traffic."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nodes-")))
        signer = authority(folder)
        signer.issue("controller", "127.0.0.1", HERE)
        upstream = stack.enter_context(run_checking_upstream(tool, {f"/{name}": {} for name in NAMES}))
        apart = None if skip_reason() else stack.enter_context(namespace())
        if apart:
            stack.enter_context(upstream_in(apart, tool, upstream, folder))
        port = free_port()
        network = stack.enter_context(running_network(port))
        nodes = Fleet(tool, build, folder, signer, upstream, network, apart, port, stack)
        nodes.start_hub()
        with nodes.hub.client() as client:
            token = client.post("/v1/tokens", json={"name": "edge", "role": "node"}).raise_for_status().json()["token"]
            (folder / "token").write_text(token)
            for name in NAMES:
                client.post("/v1/apis", json=nodes.hub.stamped(name, "first")).raise_for_status()
        nodes.start_node("edge-1", f"127.0.0.1:{network.port}")
        nodes.start_node("edge-2", f"{HERE if apart else '127.0.0.1'}:{port}", apart)
        nodes.start_node("edge-3", f"127.0.0.1:{port}")
        nodes.converged("first", ["edge-1", "edge-2", "edge-3"], time.time())
        for name in ("edge-1", "edge-2", "edge-3"):
            nodes.load(name)
        try:
            yield nodes
        finally:
            for traffic in nodes.traffic.values():
                traffic.stop()


@contextlib.contextmanager
def upstream_in(apart: Namespace, tool: Path, url: str, folder: Path) -> Iterator[None]:
    """An upstream at the same URL, for the node there."""
    expectations = folder / "expectations.json"
    expectations.write_text(json.dumps({f"/{name}": {} for name in NAMES}))
    listen = ["-listen", url.removeprefix("http://"), "-expect", str(expectations)]
    process = subprocess.Popen([*apart.within, str(tool), "upstream", *listen], stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)
