"""Services of the cluster: an address and a balancer for each of type LoadBalancer, and names of all of them.

Cluster addresses are not routed: a name stands for the ready pods of the Service.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

from e2e.kit.name_server import NameServer
from e2e.kubernetes.lab.client import AsyncClient, Json, collection
from e2e.kubernetes.lab.network import BRIDGE, HOST, PREFIX, ip

SERVICE_OF = "kubernetes.io/service-name"
Name = tuple[str, str]
"""A Service's namespace and name."""


@dataclass
class Balancer:
    """What listens at a Service's address."""

    address: str
    servers: dict[int, asyncio.Server] = field(default_factory=dict)
    connections: set[asyncio.Task[None]] = field(default_factory=set)

    def close(self) -> None:
        for server in self.servers.values():
            server.close()
        for connection in self.connections:
            connection.cancel()


@dataclass
class Services:
    """names: answers for Services, as a cluster's name server does."""

    client: AsyncClient
    services: dict[Name, Json] = field(default_factory=dict)
    slices: dict[Name, Json] = field(default_factory=dict)
    balancers: dict[Name, Balancer] = field(default_factory=dict)
    _free: Iterator[str] = field(default_factory=lambda: (f"{PREFIX}.255.{last}" for last in itertools.count(1)))
    _turn: Iterator[int] = field(default_factory=itertools.count)

    async def run(self) -> None:
        """Until it is cancelled."""
        names = NameServer(HOST)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow_services(names))
                group.create_task(self._follow_slices(names))
        finally:
            names.close()
            for balancer in self.balancers.values():
                balancer.close()

    async def _follow_services(self, names: NameServer) -> None:
        async for event, service in self.client.follow("/api/v1/services"):
            name = service["metadata"]["namespace"], service["metadata"]["name"]
            if event == "DELETED":
                self.services.pop(name, None)
                self._close(name)
            else:
                self.services[name] = service
                await self._serve(name, service)
            self._publish(names, name)

    async def _follow_slices(self, names: NameServer) -> None:
        async for event, endpoints in self.client.follow(collection("discovery.k8s.io/v1", "EndpointSlice")):
            metadata = endpoints["metadata"]
            name = metadata["namespace"], metadata["name"]
            if event == "DELETED":
                self.slices.pop(name, None)
            else:
                self.slices[name] = endpoints
            self._publish(names, (metadata["namespace"], metadata.get("labels", {}).get(SERVICE_OF, "")))

    def _publish(self, names: NameServer, name: Name) -> None:
        host = f"{name[1]}.{name[0]}.svc"
        addresses = [address for endpoints in self._slices_of(name) for address in _ready_addresses(endpoints)]
        names.known[host] = names.known[f"{host}.cluster.local"] = sorted(set(addresses))

    def _slices_of(self, name: Name) -> list[Json]:
        within = [endpoints for (namespace, _), endpoints in self.slices.items() if namespace == name[0]]
        return [endpoints for endpoints in within if endpoints["metadata"].get("labels", {}).get(SERVICE_OF) == name[1]]

    def backends(self, name: Name, port_name: str) -> list[tuple[str, int]]:
        """Where the Service's ready pods have this port."""
        return [
            (address, port["port"])
            for endpoints in self._slices_of(name)
            for port in endpoints["ports"]
            if (port.get("name") or "") == port_name
            for address in _ready_addresses(endpoints)
        ]

    async def _serve(self, name: Name, service: Json) -> None:
        """Gives the Service an address, and listens at each of its ports."""
        if service["spec"].get("type") != "LoadBalancer":
            return
        if name not in self.balancers:
            self.balancers[name] = Balancer(next(self._free))
            ip("address", "add", f"{self.balancers[name].address}/32", "dev", BRIDGE)
        balancer = self.balancers[name]
        ports = {port["port"]: port.get("name", "") for port in service["spec"]["ports"] if port["protocol"] == "TCP"}
        for port in balancer.servers.keys() - ports.keys():
            balancer.servers.pop(port).close()
        for port in ports.keys() - balancer.servers.keys():
            balancer.servers[port] = await self._listen(name, balancer, port)
        ingress = [{"ip": balancer.address}]
        if service.get("status", {}).get("loadBalancer", {}).get("ingress") != ingress:
            path = f"{collection('v1', 'Service', name[0])}/{name[1]}/status"
            await self.client.merge(path, {"status": {"loadBalancer": {"ingress": ingress}}})

    async def _listen(self, name: Name, balancer: Balancer, port: int) -> asyncio.Server:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task
            balancer.connections.add(task)
            try:
                await self._forward(name, port, reader, writer)
            finally:
                balancer.connections.discard(task)
                writer.close()

        return await asyncio.start_server(accept, balancer.address, port)

    async def _forward(self, name: Name, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """To the next of the Service's pods, with all that comes either way."""
        ports = {spec["port"]: spec.get("name", "") for spec in self.services[name]["spec"]["ports"]}
        backends = self.backends(name, ports[port])
        if not backends:
            writer.transport.abort()
            return
        try:
            back_reader, back_writer = await asyncio.open_connection(*backends[next(self._turn) % len(backends)])
        except OSError:
            writer.transport.abort()
            return
        try:
            await asyncio.gather(_copy(reader, back_writer), _copy(back_reader, writer))
        finally:
            back_writer.close()

    def _close(self, name: Name) -> None:
        balancer = self.balancers.pop(name, None)
        if balancer is not None:
            balancer.close()
            ip("address", "del", f"{balancer.address}/32", "dev", BRIDGE)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the end, which is passed on; a reset too."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.drain()


def _ready_addresses(endpoints: Json) -> list[str]:
    ready = [found for found in endpoints.get("endpoints") or [] if found.get("conditions", {}).get("ready", True)]
    return [address for endpoint in ready for address in endpoint["addresses"]]
