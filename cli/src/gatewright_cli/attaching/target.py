"""What is attached to what."""

from __future__ import annotations

from dataclasses import dataclass

from gatewright_cli.addresses import split_address


@dataclass(frozen=True)
class Target:
    """engine: HOST:PORT of `--attach-listen`; in Kubernetes SERVICE.NAMESPACE:PORT. route: the name that the Api's
    `attachTo` has, of a route of Envoy's or of an HTTPRoute. namespace: of Kubernetes, where that is. tls: whether the
    engine has a certificate.
    """

    engine: str
    route: str
    namespace: str = "default"
    tls: bool = False

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the engine. Raises ValueError: expected HOST:PORT, got …"""
        return split_address(self.engine)

    @property
    def service(self) -> tuple[str, str, int]:
        """Name, namespace and port of the engine's Service. Raises ValueError for another form of address."""
        host, port = self.address
        name, _, namespace = host.removesuffix(".svc.cluster.local").removesuffix(".svc").partition(".")
        if not name or not namespace or "." in namespace:
            raise ValueError(f"expected SERVICE.NAMESPACE:PORT, got {self.engine!r}")
        return name, namespace, port
