"""Certificates that a gateway obtains by itself: from a real authority, which asks a whole gateway for proof."""

from __future__ import annotations

import json
import re
import shutil
import ssl
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
import yaml

from e2e.kit.gateway import Gateway, Json, api, eventually, running
from e2e.kit.listening import free_port
from e2e.kit.pebble import Pebble
from e2e.kit.places import ROOT
from e2e.kit.raw_http import RefusedError, connected, request
from e2e.kit.upstream import Upstream

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.in_order("one authority and one gateway, which the last tests stop: another of each costs a minute"),
]
PAGE = ROOT / "docs" / "how-to" / "certificates.md"
HOSTS = ("example.com", "www.example.com")
LIFETIME = 18  # seconds; renewed at two thirds
CHALLENGE = "/.well-known/acme-challenge/"


@dataclass
class Site:
    """Ports of the listeners, and the authority that asks at the first one."""

    pebble: Pebble
    state: Path
    file: Path
    redirecting: int
    https: int
    plain: int

    @contextmanager
    def running(self, build: Path) -> Iterator[Gateway]:
        arguments = ("--gateway", str(self.file), "--port", str(self.redirecting))
        with running(build, self.state, *arguments) as gateway:
            yield gateway


def documented_gateway() -> Json:
    """The Gateway that the page about certificates shows."""
    (text,) = [block for block in re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.M | re.S) if "acme:" in block]
    document: Json = yaml.safe_load(text)
    return document


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder, ports = tmp_path_factory.mktemp("acme"), (free_port(), free_port(), free_port())
    pebble = Pebble(folder, ports[0], LIFETIME)
    document = documented_gateway()
    spec = document["spec"]
    for listener, port in zip(spec["listeners"], ports, strict=False):
        listener |= {"address": "127.0.0.1", "port": port}
    spec["listeners"].append({"name": "plain", "port": ports[2]})
    private = {"directory": pebble.directory, "directoryAuthority": str(pebble.authority_file)}
    spec["certificates"]["web"]["acme"] |= private
    file = folder / "gateway.yaml"
    file.write_text(yaml.safe_dump(document))
    state = Path(tempfile.mkdtemp(prefix="gw-state-"))
    with pebble.names():
        pebble.start()
        try:
            yield Site(pebble, state, file, *ports)
        finally:
            pebble.stop()
            shutil.rmtree(state, ignore_errors=True)


@pytest.fixture(scope="module")
def acme_gateway(site: Site, build: Path, recording_upstream: Upstream) -> Iterator[Gateway]:
    with site.running(build) as gateway:
        gateway.deploy(api("acme", recording_upstream.url))
        yield gateway


def served_serial(site: Site, host: str, trust: ssl.SSLContext) -> str:
    """The serial number of the certificate that a client which trusts the authority is shown; "" where it refuses."""
    try:
        with connected(site.https, trust, host) as connection:
            assert isinstance(connection, ssl.SSLSocket)
            return str((connection.getpeercert() or {}).get("serialNumber", ""))
    except (OSError, RefusedError):
        return ""


def wait_for_serial(site: Site, trust: ssl.SSLContext, than: str = "") -> str:
    """Waits for another serial number to be served. The bound is far: the authority is as slow as the machine."""
    serial_numbers = [""]

    def is_there() -> bool:
        serial_numbers[0] = served_serial(site, HOSTS[0], trust)
        return serial_numbers[0] not in ("", than)

    eventually("another certificate is served", is_there, 60)
    return serial_numbers[0]


def certificate(gateway: Gateway) -> Json:
    with gateway.controller() as client:
        status: Json = client.get("/v1/gateway").json()["status"]["certificates"]["web"]
        return status


def test_a_certificate_is_obtained_for_all_hosts_and_served(site: Site, acme_gateway: Gateway) -> None:
    trust = site.pebble.trust()
    wait_for_serial(site, trust)
    answer = request(site.https, HOSTS[1], tls=trust, server_name=HOSTS[1], path="/acme/x")
    assert answer.status == 200
    assert answer.tls
    assert set(answer.tls.names) == set(HOSTS)
    eventually("the certificate is reported", lambda: certificate(acme_gateway)["obtained"])
    status = certificate(acme_gateway)
    assert (status["error"], status["failures"], status["hosts"]) == ("", 0, list(HOSTS))
    assert status["next"] < status["notAfter"]
    files = [file for file in (site.state / "acme").rglob("*") if file.is_file()]
    assert {file.suffix for file in files} == {".pem", ".json"}
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


@pytest.mark.usefixtures("acme_gateway")
def test_challenges_are_answered_before_redirects_and_apis(site: Site) -> None:
    token = site.state / "acme" / "challenges" / "a-token_1"
    token.write_text("a-token_1.of-the-account")
    for port in (site.redirecting, site.plain):
        answer = request(port, "any.example", path=f"{CHALLENGE}a-token_1")
        assert (answer.status, answer.body) == (200, b"a-token_1.of-the-account")
        for absent in ("nothing", "..%2Faccounts", "a/b", ""):
            assert request(port, "any.example", path=f"{CHALLENGE}{absent}").status == 404, (port, absent)
    token.unlink()
    assert request(site.redirecting, "any.example", path="/acme/x").status == 308
    assert request(site.plain, "any.example", path="/acme/x").status == 200


def expiry_of(gateway: Gateway) -> float:
    return datetime.fromisoformat(certificate(gateway)["notAfter"]).timestamp()


EXPIRED = "certificate has expired"
IN_TIME = LIFETIME - 3
"""Seconds after the earlier certificate: one issued by then is served before the earlier one expires."""


def test_a_certificate_is_renewed_under_requests(site: Site, acme_gateway: Gateway) -> None:
    """All requests are answered; none fails for an expired certificate, unless the authority was that slow."""
    trust, ended, outcomes = site.pebble.trust(), threading.Event(), Counter[object]()

    def client(host: str) -> None:
        while not ended.is_set():
            try:
                outcomes[request(site.https, host, tls=trust, server_name=host, path="/acme/x").status] += 1
            except RefusedError as error:
                outcomes[EXPIRED if EXPIRED in str(error) else str(error)] += 1
            time.sleep(0.03)

    def more_answers() -> None:
        expected = outcomes[200] + 50
        eventually("50 are answered", lambda: outcomes[200] >= expected, 60)

    threads = [threading.Thread(target=client, args=(host,)) for host in HOSTS]
    first = wait_for_serial(site, trust)
    first_ends = expiry_of(acme_gateway)
    for thread in threads:
        thread.start()
    try:
        more_answers()
        wait_for_serial(site, trust, first)
        eventually("the renewal is reported", lambda: expiry_of(acme_gateway) > first_ends)
        later = expiry_of(acme_gateway) - first_ends
        more_answers()
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert outcomes.keys() == {200} or (later >= IN_TIME and outcomes.keys() == {200, EXPIRED}), (outcomes, later)


def test_an_unreachable_directory_is_reported_and_tried_again(site: Site, acme_gateway: Gateway) -> None:
    eventually("a certificate is obtained", lambda: certificate(acme_gateway)["obtained"], 60)
    site.pebble.stop()
    try:
        eventually("the failure is reported", lambda: certificate(acme_gateway)["failures"], 60)
        status = certificate(acme_gateway)
        assert "cannot be reached" in status["error"]
        assert status["obtained"]
        process = subprocess.run(
            ["gatewright", "status", "--run-dir", str(acme_gateway.run_dir), "--json"], capture_output=True, check=False
        )
        node = json.loads(process.stdout)
        assert process.returncode == 3
        shortcomings = [text for text in node["shortcomings"] if not text.startswith("certificate web ")]
        assert shortcomings == ["1 certificate not obtained or renewed"], (
            "its end may be near by now, on a slow machine"
        )
        assert node["acme"][0]["error"] == status["error"]
        (logged,) = acme_gateway.find_records(component="controller", level="error")[:1]
        assert logged["message"] == "certificate cannot be obtained; the served one stays in use"
    finally:
        site.pebble.start()  # another authority, which does not know the account
    eventually("it is obtained", lambda: not certificate(acme_gateway)["failures"], 20)
    trust = site.pebble.trust()
    eventually("it is served", lambda: served_serial(site, HOSTS[0], trust))


def test_a_restart_obtains_nothing_anew(site: Site, acme_gateway: Gateway, build: Path) -> None:
    site.pebble.stop()
    site.pebble.set_validity(3600)  # longer than a restart takes, on any machine
    site.pebble.start()
    before = wait_for_serial(site, site.pebble.trust())
    trust, issued = site.pebble.trust(), site.pebble.issued
    acme_gateway.stop()
    with site.running(build) as again:
        assert served_serial(site, HOSTS[0], trust) == before
        assert site.pebble.issued == issued
        assert certificate(again)["obtained"]
