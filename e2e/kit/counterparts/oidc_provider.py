"""An OpenID provider: discovery, keys that change, client credentials, introspection, logins (kit/programs)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from e2e.kit.gateway import eventually
from e2e.kit.listening import free_port
from e2e.kit.places import ROOT

SECRET = "a-secret-of-tests"  # noqa: S105 - of all its clients
GATEWAY = "gateway"
"""The client that may introspect tokens and log users in."""
INSPECTOR = "inspector"
"""The public client that logs people in at the Inspector."""
CALLBACK, LOGGED_OUT = "/callback", "/bye"
USER, OTHER_USER, PASSWORD = "test-user@127.0.0.1", "test-user2", "verysecure"


class Provider:
    """A provider that can be stopped and started again, with the same address and with other keys and tokens."""

    def __init__(
        self, folder: Path, origin: str = "http://127.0.0.1", api: str = "/app", inspector: str = "http://127.0.0.1/"
    ) -> None:
        """origin and api: of the API that users log in at. They come back to CALLBACK and LOGGED_OUT of it. inspector:
        where those of INSPECTOR come back to."""
        self.address = f"127.0.0.1:{free_port()}"
        self.issuer = f"http://{self.address}"
        self._returns = ["-redirect", f"{origin}{api}{CALLBACK}", "-logged-out", f"{origin}{api}{LOGGED_OUT}"]
        self._returns += ["-inspector", inspector]
        self._log = folder / "provider.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._client = httpx.Client(base_url=self.issuer, timeout=30)

    def start(self) -> Provider:
        command = [program(), "-listen", self.address, *self._returns]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        eventually("the provider answers", self._answers, 30)
        return self

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        try:
            return self._client.get("/control/requests").is_success
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.stop()
        self._client.close()

    def token(self, scope: str = "read write", client: str = "reporting") -> str:
        """An access token for `orders`: a JWT for `reporting`, an opaque one for `opaque`."""
        form = {"grant_type": "client_credentials", "scope": scope}
        answer = self._client.post("/oauth/token", data=form, auth=(client, SECRET)).raise_for_status()
        return str(answer.json()["access_token"])

    def revoke(self, token: str) -> None:
        self._client.post("/revoke", data={"token": token}, auth=(GATEWAY, SECRET)).raise_for_status()

    def rotate(self, algorithm: str = "RS256") -> str:
        """Adds a key, which signs from now on; its id. Earlier keys stay valid."""
        answer = self._client.post("/control/keys", params={"algorithm": algorithm}).raise_for_status()
        return str(answer.json())

    def asked(self, path: str) -> int:
        """The number of requests to a path since the start."""
        return int(self._client.get("/control/requests").raise_for_status().json().get(path, 0))


@contextmanager
def provider(folder: Path) -> Iterator[Provider]:
    running_provider = Provider(folder)
    try:
        yield running_provider.start()
    finally:
        running_provider.close()


@contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    with provider(folder) as running_provider:
        yield {
            "ISSUER": running_provider.issuer,
            "INTROSPECTION": f"{running_provider.issuer}/oauth/introspect",
            "CLIENT": GATEWAY,
            "SECRET": SECRET,
            "TOKEN": running_provider.token(),
            "READER": running_provider.token("read"),
            "OPAQUE": running_provider.token(client="opaque"),
            "OPAQUE_READER": running_provider.token("read", client="opaque"),
        }


def program() -> str:
    """The path of the program, which is built once, from the Go module proxy."""
    command = [sys.executable, str(ROOT / "tools" / "go_tool.py"), "oidc_provider"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ.copy())
    return result.stdout.strip()
