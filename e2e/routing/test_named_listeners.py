"""The listeners of APIs: named ones, internal ones, and changes of either."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from e2e.kit.certificates import Authority, authority
from e2e.kit.client_certificates import client_certificate, client_tls
from e2e.kit.engine_differences import differs_in_envoy
from e2e.kit.gateway import Gateway, Json, api, attach, eventually, mistakes_of, running
from e2e.kit.listening import free_port, write
from e2e.kit.raw_http import RefusedError, request
from e2e.kit.recorded import record_exchanges, wait_for_exchanges
from e2e.kit.upstream import Upstream

pytestmark = pytest.mark.timeout(120)
LISTENERS = ("public", "inside", "partners")


@dataclass
class Door:
    """A gateway with three listeners: one public, and two internal ones, of which one requires certificates."""

    gateway: Gateway
    file: Path
    ports: dict[str, int]
    signer: Authority

    def write(self, *, internal: bool = True) -> None:
        chain, key = self.signer.folder / "localhost.pem", self.signer.folder / "localhost.key"
        tls = {"certificates": ["own"], "clientCertificates": {"authority": "clients"}}
        write(
            self.file,
            {"name": "public", "port": self.ports["public"]},
            {"name": "inside", "port": self.ports["inside"], "internal": internal},
            {"name": "partners", "port": self.ports["partners"], "internal": True, "protocol": "https", "tls": tls},
            certificates={"own": {"certificateFile": str(chain), "keyFile": str(key)}},
            authorities={"clients": {"file": str(self.signer.file)}},
        )

    def status(self, listener: str, path: str, host: str = "localhost") -> int:
        if listener != "partners":
            return request(self.ports[listener], host, path=path).status
        tls = client_tls(self.signer, client_certificate(self.signer, "partner"))
        return request(self.ports[listener], host, tls=tls, server_name="localhost", path=path).status

    def serving(self, path: str, host: str = "localhost") -> set[str]:
        """The listeners that do."""
        status_by_listener = {listener: self.status(listener, path, host) for listener in LISTENERS}
        assert set(status_by_listener.values()) <= {200, 404}, status_by_listener
        return {listener for listener, status in status_by_listener.items() if status == 200}


@pytest.fixture(scope="module")
def door(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    place = tmp_path_factory.mktemp("door")
    signer = authority(place)
    signer.issue("localhost", "localhost")
    ports = {name: free_port() for name in LISTENERS}
    new_door = Door(None, place / "gateway.yaml", ports, signer)  # type: ignore[arg-type]
    new_door.write()
    arguments = ["--gateway", str(new_door.file), "--port", str(ports["public"])]
    with running(build, place / "state", *arguments) as gateway:
        new_door.gateway = gateway
        yield new_door


def api_on_listeners(name: str, upstream: Upstream, *listeners: str, **spec: object) -> Json:
    document = api(name, upstream.url)
    document["spec"] |= {**({"listeners": list(listeners)} if listeners else {}), **spec}
    return document


def test_an_api_is_served_by_the_listeners_that_it_names_and_no_other(door: Door, upstream: Upstream) -> None:
    door.gateway.deploy(api_on_listeners("everybody", upstream))
    door.gateway.deploy(api_on_listeners("inner", upstream, "inside"))
    door.gateway.deploy(api_on_listeners("both", upstream, "public", "partners"))
    assert door.serving("/everybody/x") == {"public"}
    assert door.serving("/inner/x") == {"inside"}
    assert door.serving("/both/x") == {"public", "partners"}
    before = len(upstream.received)
    with pytest.raises(RefusedError):  # without a certificate
        request(door.ports["partners"], path="/both/x")
    assert len(upstream.received) == before


def test_an_apis_policies_and_odd_paths_do_not_apply_on_other_listeners(door: Door, upstream: Upstream) -> None:
    door.gateway.deploy(api_on_listeners("kept", upstream, "inside", policies=[attach("mark", {"name": "kept"})]))
    assert door.serving("/kept/x") == {"inside"}
    assert upstream.received[-1].values("x-order") == [b"kept()"]
    assert (door.status("inside", "/kept/a;b"), door.status("public", "/kept/a;b")) == (400, 404)


def test_an_api_on_another_listener_hides_no_route(door: Door, upstream: Upstream) -> None:
    """By a shorter context, and by a wildcard of its host."""
    door.gateway.deploy(api_on_listeners("wide", upstream, context="/shop"))
    door.gateway.deploy(api_on_listeners("narrow", upstream, "inside", context="/shop/secret"))
    assert door.serving("/shop/secret/x") == {"public", "inside"}
    door.gateway.deploy(api_on_listeners("below", upstream, context="/tree", hosts=["*.tree.example"]))
    door.gateway.deploy(api_on_listeners("exact", upstream, "inside", context="/tree", hosts=["a.tree.example"]))
    assert door.serving("/tree/x", "a.tree.example") == {"public", "inside"}
    assert door.serving("/tree/x", "b.tree.example") == {"public"}


def test_nearby_paths_are_those_of_the_listener(door: Door, upstream: Upstream) -> None:
    """The API of another listener is not named, however near it lies."""
    door.gateway.deploy(api_on_listeners("near-outer", upstream, context="/near/outer"))
    door.gateway.deploy(api_on_listeners("near-inner", upstream, "inside", context="/near/inner"))
    for listener, path, near in (
        ("public", "/near/iner/x", "/near/outer"),
        ("public", "/near/inner/x", "/near/outer"),
        ("inside", "/near/iner/x", "/near/inner"),
    ):
        with record_exchanges(door.gateway, path=path):
            assert door.status(listener, path) == 404
            (exchange,) = wait_for_exchanges(door.gateway, path=path)
        assert exchange["cause"]["code"] == "no_route"
        text = exchange["cause"]["reason"] + exchange["cause"]["cure"]
        assert f"({near}" in text
        assert ("/near/inner" in text.replace(path, "")) == (listener == "inside")
        assert exchange.get("api", "") == ""


def test_two_apis_share_a_context_on_different_listeners(door: Door, upstream: Upstream) -> None:
    shared = {"context": "/shared", "policies": [attach("mark", {"name": "outer"})]}
    inner = {"context": "/shared", "policies": [attach("mark", {"name": "inner"})]}
    door.gateway.deploy(api_on_listeners("outer-shared", upstream, "public", **shared))
    door.gateway.deploy(api_on_listeners("inner-shared", upstream, "inside", **inner))
    for listener, name in {"public": "outer", "inside": "inner"}.items():
        assert door.status(listener, "/shared/x") == 200
        assert upstream.received[-1].values("x-order") == [f"{name}()".encode()]
    assert door.status("partners", "/shared/x") == 404
    for listeners in (["inside", "partners"], []):
        errors = mistakes_of(door.gateway, api_on_listeners("third-shared", upstream, *listeners, context="/shared"))
        assert "'/shared', which is " in errors["spec.context"]
    door.gateway.remove("inner-shared")
    eventually("it has gone", lambda: door.status("inside", "/shared/x") == 404)
    assert door.status("public", "/shared/x") == 200


def test_the_listeners_of_an_api_change_while_it_runs(door: Door, upstream: Upstream) -> None:
    door.gateway.deploy(api_on_listeners("moving", upstream, "inside"))
    assert door.serving("/moving/x") == {"inside"}
    door.gateway.deploy(api_on_listeners("moving", upstream, "public"))
    eventually("it has moved", lambda: door.serving("/moving/x") == {"public"})
    door.gateway.deploy(api_on_listeners("moving", upstream))
    door.write(internal=False)
    assert door.gateway.reload().returncode == 0
    eventually("inside is for all", lambda: door.serving("/moving/x") == {"public", "inside"})
    door.write()
    assert door.gateway.reload().returncode == 0
    eventually("inside is internal", lambda: door.serving("/moving/x") == {"public"})


def test_an_unknown_listener_is_refused(door: Door, upstream: Upstream) -> None:
    errors = mistakes_of(door.gateway, api_on_listeners("lost", upstream, "inside", "outside"))
    message = errors["spec.listeners[1]"]
    assert "a listener of the Gateway that serves APIs" in message
    assert "inside, partners or public" in message
    assert "'outside'" in message


def test_a_listener_that_an_api_names_cannot_be_removed(door: Door, upstream: Upstream) -> None:
    door.gateway.deploy(api_on_listeners("stays", upstream, "inside"))
    written = door.file.read_text()
    write(door.file, {"name": "public", "port": door.ports["public"]})
    reloaded = door.gateway.reload()
    door.file.write_text(written)
    assert reloaded.returncode != 0
    assert "a listener 'inside' that serves APIs, which the API" in reloaded.stdout + reloaded.stderr
    assert door.serving("/stays/x") == {"inside"}


@differs_in_envoy("The engine and Envoy end together: listeners take no connections until both have started again.")
def test_a_restart_of_the_engine_keeps_the_listeners_of_apis(door: Door, upstream: Upstream) -> None:
    door.gateway.deploy(api_on_listeners("again", upstream, "inside"))
    before = door.gateway.pid("engine")
    door.gateway.kill("engine")
    eventually("another engine runs", lambda: door.gateway.pid("engine") not in (None, before))
    eventually("it serves", lambda: httpx.get(f"http://127.0.0.1:{door.ports['inside']}/again/x").status_code == 200)
    assert door.serving("/again/x") == {"inside"}
