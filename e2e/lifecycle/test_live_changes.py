"""Certificates and listeners change under load over TLS: no request fails, and the change is live.

Pools that change under load are in test_upstreams.py, listeners in clear in test_listeners.py."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from e2e.kit import clients
from e2e.kit.certificates import Authority, authority
from e2e.kit.client_certificates import client_tls
from e2e.kit.gateway import Gateway, Json, api, attach, eventually, running
from e2e.kit.listening import free_port, write
from e2e.kit.tls_load import tls_load
from e2e.kit.upstream import Upstream

pytestmark = pytest.mark.timeout(180)
REQUESTS = 500
PAUSE_SECONDS = 0.05
"""Of each of three clients. They ask for as long as a test takes, which leaves it less CPU the shorter this is."""
BROKEN = "certificate files cannot be used; their previous content is still served"


@dataclass
class Site:
    """A gateway with a listener in clear and one with TLS, whose certificate is in a folder that a link leads to."""

    gateway: Gateway
    file: Path
    http: Json
    https: Json
    signer: Authority
    folder: Path

    @property
    def chain(self) -> Path:
        return self.folder / "live" / "web.pem"

    @property
    def key(self) -> Path:
        return self.folder / "live" / "web.key"

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.https['port']}"

    def trust(self) -> ssl.SSLContext:
        return client_tls(self.signer)

    def write(self, *listeners: Json, **spec: object) -> None:
        certificates = {"web": {"certificateFile": str(self.chain), "keyFile": str(self.key)}}
        write(self.file, *(listeners or (self.http, self.https)), certificates=certificates, **spec)

    def reload(self, *listeners: Json, **spec: object) -> None:
        self.write(*listeners, **spec)
        result = self.gateway.reload()
        assert result.returncode == 0, result.stderr

    def issue(self) -> tuple[bytes, bytes]:
        """Another certificate and its key."""
        chain, key = self.signer.issue("next", "127.0.0.1")
        return chain.read_bytes(), key.read_bytes()

    def refusals(self) -> int:
        """How many pairs could not be used."""
        return len(self.gateway.find_records(message=BROKEN))

    def has_refused_since(self, count: int) -> bool:
        return self.refusals() > count

    def shows(self, chain: bytes) -> bool:
        """Whether this is what a new connection is shown."""
        with (
            socket.create_connection(("127.0.0.1", self.https["port"]), timeout=5) as plain,
            self.trust().wrap_socket(plain, server_hostname="127.0.0.1") as tls,
        ):
            return tls.getpeercert(binary_form=True) == der(chain)


def der(chain: bytes) -> bytes:
    return x509.load_pem_x509_certificate(chain).public_bytes(Encoding.DER)


@pytest.fixture
def site(running_site: Site) -> Site:
    """A site with a valid certificate, whatever the test before has left."""
    by_link(running_site, *running_site.issue())
    return running_site


@pytest.fixture(scope="module")
def running_site(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    http: Json = {"name": "http", "port": free_port()}
    https: Json = {"name": "https", "port": free_port(), "protocol": "https", "tls": {"certificates": ["web"]}}
    new_site = Site(None, folder / "gateway.yaml", http, https, authority(folder), folder)  # type: ignore[arg-type]
    by_link(new_site, *new_site.issue())
    new_site.write()
    arguments = ["--gateway", str(new_site.file), "--port", str(http["port"])]
    with running(build, folder / "state", *arguments) as new_site.gateway:
        yield new_site


# ---------------------------------------------------------------- certificates


def by_name(site: Site, chain: bytes, key: bytes) -> None:
    """Another file takes the name: what most programs do that renew certificates."""
    for file, content in ((site.chain, chain), (site.key, key)):
        new = file.with_suffix(".new")
        new.write_bytes(content)
        new.rename(file)


def in_place(site: Site, chain: bytes, key: bytes) -> None:
    """The file is written over, the key first, in two pieces: what `cp` does."""
    for file, content in ((site.key, key), (site.chain, chain)):
        with file.open("wb", buffering=0) as opened:
            opened.write(content[:100])
            time.sleep(0.01)
            opened.write(content[100:])


def by_link(site: Site, chain: bytes, key: bytes) -> None:
    """A link leads to another folder: what Kubernetes does with a mounted Secret, and certbot with its `live`."""
    folder = site.folder / f"{time.monotonic_ns()}"
    folder.mkdir()
    (folder / "web.pem").write_bytes(chain)
    (folder / "web.key").write_bytes(key)
    new = site.folder / "live.new"
    new.symlink_to(folder.name)
    new.rename(site.folder / "live")


@pytest.mark.slow("each of many changes is waited for under requests")
def test_certificates_change_without_a_failed_request(site: Site, upstream: Upstream) -> None:
    """Requests without a pause while the files are replaced in each way, with pairs in between that cannot be used."""
    site.gateway.deploy(api("rotated", upstream.url))
    with tls_load(f"{site.url}/rotated/x", site.trust, REQUESTS, pause=PAUSE_SECONDS) as load:
        for replace in (by_name, in_place, by_link, by_name):
            chain, key = site.issue()
            replace(site, chain, key)
            eventually(f"the new one is shown, {replace.__name__}", partial(site.shows, chain))
            refusals = site.refusals()
            replace(site, chain, site.issue()[1])  # of another certificate
            eventually("the log reports that they do not fit", partial(site.has_refused_since, refusals))
            assert site.shows(chain), "expected the one before to stay"
        before = load.found.total()
        replace(site, b"-----BEGIN CERTIFICATE-----\n", b"")
        eventually("there is load", lambda: load.found.total() > before + 50)
        assert site.shows(chain)
    assert set(load.found) == {"200"}, load.found
    assert load.found.total() >= REQUESTS


# ---------------------------------------------------------------- listeners


def test_limits_of_a_listener_change_without_a_failed_request(site: Site, upstream: Upstream) -> None:
    """Limits of the listener under load change, others come and go. New connections have the new limits at once."""
    site.gateway.deploy(api("limited", upstream.url, [attach("mark", {"name": "m"})]))
    other = {**site.https, "name": "other", "port": free_port()}
    with tls_load(f"{site.url}/limited/x", site.trust, 300, pause=PAUSE_SECONDS) as load:
        for number in (20, 30):
            site.reload(limits={"headerCount": number})
            for lines, status in ((number - 15, 200), (number + 5, 431)):
                headers = {f"x-{index}": "1" for index in range(lines)}
                answer = httpx.get(f"{site.url}/limited/x", headers=headers, verify=site.trust())
                assert answer.status_code == status
            site.reload(site.http, site.https, other, limits={"headerCount": number})
            assert httpx.get(f"https://127.0.0.1:{other['port']}/limited/x", verify=site.trust()).status_code == 200
        site.reload(site.http, {**site.https, "tls": {"certificates": ["web"], "minVersion": "1.3"}})
        old = site.trust()
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{site.url}/limited/x", verify=old)
        site.reload()
        assert httpx.get(f"{site.url}/limited/x", verify=old).status_code == 200
        eventually("the other has no connection", lambda: is_closed(other["port"]))
    assert set(load.found) == {"200"}, load.found


def test_a_port_changes_without_a_failed_request(site: Site, upstream: Upstream) -> None:
    """Clients that are connected to the old port, or queued, are answered and disconnected. Later ones are refused."""
    site.gateway.deploy(api("moved", upstream.url))
    before = site.https["port"]
    with clients.run_clients(f"{site.url}/moved/x", keep_alive=True, clients=4, trust=site.trust()) as flow:
        eventually("traffic flows", lambda: flow.answered > 100)
        site.https = {**site.https, "port": free_port()}
        site.reload()
        assert httpx.get(f"{site.url}/moved/x", verify=site.trust()).status_code == 200
    assert flow.lost == []
    assert is_closed(before)


def is_closed(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False
