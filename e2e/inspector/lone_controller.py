"""A controller by itself, as its own program: it is stopped and started again as a test wants, and knows no node but
those that a test pretends to be."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from e2e.kit.gateway import eventually
from e2e.kit.listening import free_port

SECRET_KEY = base64.b64encode(bytes(32)).decode()
"""It encrypts Secrets."""


class LoneController:
    """It can be stopped and started again, with another token: it keeps its address and its APIs.

    definitions: the folder of a build's policy definitions. folder: for its files. last_good: if the file exists, a
    node serves without the database, and the controller waits for that.
    """

    def __init__(self, definitions: Path, folder: Path) -> None:
        self.port = free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        self.node_address = f"unix:{folder / 'nodes.sock'}"
        self._log = folder / "controller.log"
        self._token_file = folder / "token"
        self.definitions = definitions
        self.database, self.last_good = folder / "controller.db", folder / "last-good"
        self._command = [
            sys.executable, "-m", "gatewright_controller", "--listen", f"127.0.0.1:{self.port}",
            "--node-listen", self.node_address,
            "--database", f"sqlite:{self.database}", "--last-good", str(self.last_good), "--log-level", "debug",
        ]  # fmt: skip
        self.token = ""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, token: str, oidc: dict[str, Any] | None = None) -> LoneController:
        """Returns once it answers. token "": it asks for none. oidc: its setting of this name."""
        self.token = token
        self._token_file.write_text(token)
        command = [*self._command, "--definitions", str(self.definitions)]
        command += ["--token-file", str(self._token_file)] if token else []
        environment = {**os.environ, "GATEWRIGHT_CONTROLLER_SECRET_KEY": SECRET_KEY}
        environment |= {"GATEWRIGHT_CONTROLLER_OIDC": json.dumps(oidc)} if oidc else {}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stderr=log, stdout=log, env=environment)
        eventually(f"the controller answers; its log: {self._log}", self._answers, 60)
        return self

    def _answers(self) -> bool:
        assert self._process
        assert self._process.poll() is None, f"the controller has ended:\n{self.log()}"
        try:
            return httpx.get(f"{self.origin}/healthz").status_code == 200
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    def client(self) -> httpx.Client:
        """A client of its management API."""
        headers = {"authorization": f"Bearer {self.token}"} if self.token else {}
        return httpx.Client(base_url=self.origin, headers=headers, timeout=30)

    def log(self) -> str:
        """Its whole log since the first start."""
        return self._log.read_text()
