"""Pebble, Let's Encrypt's authority for tests: a directory, and a name server by which every host is this machine."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from e2e.kit.certificates import authority
from e2e.kit.gateway import eventually
from e2e.kit.listening import free_port
from e2e.kit.places import ROOT

BAD_NONCES = 15
"""Percent of all requests that are refused for their nonce, as any authority may."""


class Pebble:
    """An authority. folder: for its files. http_port: the port of its HTTP challenges. seconds: the validity of its
    certificates. After another start it has no accounts, and is another authority."""

    def __init__(self, folder: Path, http_port: int, seconds: int) -> None:
        self._port, self._management, self._dns = free_port(), free_port(), free_port()
        self._own = authority(folder, "directory")
        chain, key = self._own.issue("pebble", "localhost", "127.0.0.1")
        self._config, self._log = folder / "pebble.json", folder / "pebble.log"
        self._settings = {
            "listenAddress": f"127.0.0.1:{self._port}",
            "managementListenAddress": f"127.0.0.1:{self._management}",
            "certificate": str(chain),
            "privateKey": str(key),
            "httpPort": http_port,
            "tlsPort": free_port(),
            "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
            "retryAfter": {"authz": 1, "order": 1},
        }
        self.set_validity(seconds)
        self._process: subprocess.Popen[bytes] | None = None

    def set_validity(self, seconds: int) -> None:
        """Sets the validity of certificates, from the next start on."""
        profiles = {"default": {"description": "of the test", "validityPeriod": seconds}}
        self._config.write_text(json.dumps({"pebble": {**self._settings, "profiles": profiles}}))

    @property
    def directory(self) -> str:
        return f"https://localhost:{self._port}/dir"

    @property
    def authority_file(self) -> Path:
        """The authority of the directory's own certificate."""
        return self._own.file

    @property
    def issued(self) -> int:
        """The number of certificates issued since the first start."""
        return self._log.read_text().count("Issued certificate serial")

    @contextmanager
    def names(self) -> Iterator[None]:
        """Runs a name server by which every host is 127.0.0.1."""
        off = [word for name in ("http01", "https01", "tlsalpn01", "doh") for word in (f"-{name}", "")]
        where = ["-dnsserver", f"127.0.0.1:{self._dns}", "-management", f"127.0.0.1:{free_port()}"]
        here = ["-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""]
        with self._log.open("ab") as log:
            server = subprocess.Popen([program("pebble-challtestsrv"), *here, *where, *off], stdout=log, stderr=log)
        try:
            yield
        finally:
            server.kill()
            server.wait()

    def start(self) -> None:
        environment = os.environ | {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": str(BAD_NONCES)}
        environment |= {"PEBBLE_AUTHZREUSE": "0"}
        command = [program("pebble"), "-config", str(self._config), "-dnsserver", f"127.0.0.1:{self._dns}"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        eventually("pebble listens", self._listens)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def trust(self) -> ssl.SSLContext:
        """A context that trusts the certificates issued since the last start."""
        own = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        own.load_verify_locations(self._own.file)
        root = httpx.get(f"https://localhost:{self._management}/roots/0", verify=own).text
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=root)
        return context

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._port)).close()
        except OSError:
            return False
        return True


def program(name: str) -> str:
    """The path of the program, which is built once, from the Go module proxy."""
    command = [sys.executable, str(ROOT / "tools" / "go_tool.py"), name]
    return subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()  # stderr has the reason of a failure
