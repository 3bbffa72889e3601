"""Names of hosts under a test's control: a mount namespace whose /etc/hosts and /etc/resolv.conf are the test's."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

HOSTS, RESOLVER = Path("/etc/hosts"), Path("/etc/resolv.conf")
NAMESPACE = ("unshare", "--map-root-user", "--mount")
MOUNTED = f'mount --bind "$0" {HOSTS} && mount --bind "$1" {RESOLVER} && shift && exec "$@"'


class Names:
    """`within` are the words before a command that is to resolve these names. server: the name server for other
    names.

    Other names are looked up at the machine's own name server; one in `.test` is not there (RFC 6761).
    """

    def __init__(self, folder: Path, server: str | None = None) -> None:
        if subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode != 0:
            pytest.skip("this machine gives no mount namespace, and names cannot be changed without one")
        self._hosts, resolver = folder / "hosts", folder / "resolv.conf"
        resolver.write_text(f"nameserver {server}\n" if server else RESOLVER.read_text())
        self.resolve_to_loopback()
        self.within = (*NAMESPACE, "sh", "-c", MOUNTED, str(self._hosts), str(resolver))

    def resolve_to_loopback(self, *names: str) -> None:
        """Resolves these names alone, to 127.0.0.1. The file is written in place, since it is mounted elsewhere."""
        self._hosts.write_text("".join(f"127.0.0.1 {name}\n" for name in ("localhost", *names)))
