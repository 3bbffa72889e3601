"""Probes of containers, as a kubelet makes them: by HTTP or by a connection."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import httpx

from e2e.kubernetes.lab.client import Json


@dataclass
class Probe:
    """succeeds: as of the last attempts; None before the thresholds say either."""

    spec: Json
    address: str
    ports: dict[str, int]
    successes: int = 0
    failures: int = 0
    next_attempt: float = field(default=0.0)

    @property
    def has_succeeded(self) -> bool:
        return self.successes >= int(self.spec.get("successThreshold", 1))

    @property
    def has_failed(self) -> bool:
        return self.failures >= int(self.spec.get("failureThreshold", 3))

    async def attempt(self, client: httpx.AsyncClient, now: float) -> None:
        """Makes one where it is time for it."""
        if now < self.next_attempt:
            return
        self.next_attempt = now + self.spec.get("periodSeconds", 10)
        if await self._try(client):
            self.successes, self.failures = self.successes + 1, 0
        else:
            self.successes, self.failures = 0, self.failures + 1

    async def _try(self, client: httpx.AsyncClient) -> bool:
        seconds = self.spec.get("timeoutSeconds", 1)
        try:
            match self.spec:
                case {"httpGet": request}:
                    scheme = request.get("scheme", "HTTP").lower()
                    url = f"{scheme}://{self.address}:{self._port(request)}{request.get('path', '/')}"
                    return 200 <= (await client.get(url, timeout=seconds)).status_code < 400
                case {"tcpSocket": request}:
                    opening = asyncio.open_connection(self.address, self._port(request))
                    _, writer = await asyncio.wait_for(opening, seconds)
                    writer.close()
                    return True
        except (OSError, httpx.TransportError, TimeoutError):
            return False
        raise ValueError(f"expected a probe with httpGet or tcpSocket, got {sorted(self.spec)}")

    def _port(self, request: Json) -> int:
        port = request["port"]
        return self.ports[port] if isinstance(port, str) else int(port)
