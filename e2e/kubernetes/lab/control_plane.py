"""etcd, the API server and the controller manager, as a cluster has them, in the namespace of the calling thread."""

from __future__ import annotations

import contextlib
import json
import secrets
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from e2e.kit.certificates import Authority, authority
from e2e.kit.gateway import eventually
from e2e.kubernetes.lab.client import Client
from e2e.kubernetes.lab.network import HOST
from e2e.kubernetes.lab.programs import program

PORT = 6443
OTHER_PORT = 6444
URL = f"https://{HOST}:{PORT}"
ETCD = "http://127.0.0.1:2379"
WITH_THIS_PROCESS = ("setpriv", "--pdeathsig", "KILL")
"""Words before a command that is to end with this process, however that ends."""
CONTROLLERS = (
    "deployment-controller", "disruption-controller", "endpointslice-controller", "garbage-collector-controller",
    "namespace-controller", "replicaset-controller", "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
)  # fmt: skip
"""None that watches over nodes: the lab's sends no heartbeat."""


class ApiServer:
    """One more API server of the same etcd, which a test may take away: the cluster has its own."""

    def __init__(self, words: list[str], kubeconfig: Path, client: Client, log: Path) -> None:
        self.kubeconfig, self.client = kubeconfig, client
        self._words, self._log = words, log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once it answers."""
        with self._log.open("ab") as log:
            command = [*WITH_THIS_PROCESS, program("kube-apiserver"), *self._words]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        _wait_ready(self.client, self._process, self._log)

    def kill(self) -> None:
        """At once, with all of its connections."""
        if self._process:
            self._process.kill()
            self._process.wait()


@dataclass
class ControlPlane:
    """token: of the administrator. api_server: the arguments of the API server."""

    client: Client
    kubeconfig: Path
    folder: Path
    signer: Authority
    token: str
    api_server: list[str]

    def write_kubeconfig(self, name: str, url: str) -> Path:
        """The administrator's, by another way to an API server."""
        return _kubeconfig(self.folder / f"{name}.kubeconfig", url, self.signer, self.token)

    @contextlib.contextmanager
    def another_api_server(self) -> Iterator[ApiServer]:
        """It runs when the block begins."""
        url = f"https://{HOST}:{OTHER_PORT}"
        words = [*self.api_server, f"--secure-port={OTHER_PORT}", "--endpoint-reconciler-type=none"]
        kubeconfig = self.write_kubeconfig("other", url)
        client = Client(url, self.token, ssl.create_default_context(cafile=str(self.signer.file)))
        server = ApiServer(words, kubeconfig, client, self.folder / "other-kube-apiserver.log")
        try:
            server.start()
            yield server
        finally:
            server.kill()
            client.close()


@contextlib.contextmanager
def control_plane(folder: Path) -> Iterator[ControlPlane]:
    """Ready to serve; logs and data lie in the folder."""
    signer = authority(folder)
    token = secrets.token_hex(16)
    kubeconfig = _kubeconfig(folder / "kubeconfig", URL, signer, token)
    api_server = _api_server(folder, signer, token)
    trust = ssl.create_default_context(cafile=str(signer.file))
    client = Client(URL, token, trust)
    commands = {
        "etcd": _etcd(folder),
        "kube-apiserver": api_server,
        "kube-controller-manager": _controller_manager(folder, signer, kubeconfig),
    }
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, command in commands.items():
            log_file = folder / f"{name}.log"
            with log_file.open("wb") as log:
                processes[name] = subprocess.Popen(
                    [*WITH_THIS_PROCESS, program(name), *command], stdout=log, stderr=log
                )
            if name == "kube-apiserver":
                _wait_ready(client, processes[name], log_file)
        yield ControlPlane(client, kubeconfig, folder, signer, token, api_server)
    finally:
        client.close()
        for process in reversed(processes.values()):
            process.kill()
            process.wait()


def _wait_ready(client: Client, process: subprocess.Popen[bytes], log: Path) -> None:
    def is_ready() -> bool:
        assert process.poll() is None, f"the API server has ended:\n{log.read_text()[-4000:]}"
        return client.is_ready()

    eventually("the API server answers", is_ready, 120)


def _etcd(folder: Path) -> list[str]:
    return [
        f"--data-dir={folder / 'etcd'}", f"--listen-client-urls={ETCD}", f"--advertise-client-urls={ETCD}",
        "--listen-peer-urls=http://127.0.0.1:2380", "--unsafe-no-fsync", "--log-level=warn",
    ]  # fmt: skip


def _api_server(folder: Path, signer: Authority, token: str) -> list[str]:
    certificate, key = signer.issue("apiserver", HOST, "127.0.0.1", "kubernetes.default.svc", "localhost")
    tokens = folder / "tokens.csv"
    tokens.write_text(f'{token},admin,admin,"system:masters"\n')
    accounts, accounts_key = signer.issue("service-accounts")
    return [
        f"--etcd-servers={ETCD}", f"--bind-address={HOST}", f"--advertise-address={HOST}", f"--secure-port={PORT}",
        f"--tls-cert-file={certificate}", f"--tls-private-key-file={key}", f"--token-auth-file={tokens}",
        f"--cert-dir={folder}", "--service-cluster-ip-range=10.232.0.0/16", "--authorization-mode=RBAC",
        f"--service-account-issuer={URL}", f"--service-account-key-file={accounts}",
        f"--service-account-signing-key-file={accounts_key}", "--allow-privileged",
    ]  # fmt: skip


def _controller_manager(folder: Path, signer: Authority, kubeconfig: Path) -> list[str]:
    return [
        f"--kubeconfig={kubeconfig}", f"--root-ca-file={signer.file}", f"--cert-dir={folder}",
        "--bind-address=127.0.0.1",
        f"--service-account-private-key-file={folder / 'service-accounts.key'}", "--leader-elect=false",
        f"--controllers={','.join(CONTROLLERS)}", "--use-service-account-credentials=false", "--kube-api-qps=200",
        "--kube-api-burst=400",
    ]  # fmt: skip


def _kubeconfig(file: Path, server: str, signer: Authority, token: str) -> Path:
    """JSON is YAML too."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": {"server": server, "certificate-authority": str(signer.file)}}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "admin"}}],
        "current-context": "lab",
    }
    file.touch(mode=0o600)
    file.write_text(json.dumps(document))
    return file
