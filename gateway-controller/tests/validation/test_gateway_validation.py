from __future__ import annotations

import sys
from pathlib import Path

import pytest
from gatewright_controller.model import gateway_to_document
from gatewright_controller.validation.acme import LIBRARY
from gatewright_controller.validation.gateway import validate_gateway
from gatewright_documents.mistake import Invalid
from gatewright_documents.values import JsonObject
from gatewright_documents.yaml_reader import parse_yaml

GATEWAYS = Path(__file__).parents[1] / "testdata" / "gateways"


@pytest.mark.parametrize("path", sorted((GATEWAYS / "bad").glob("*.bad.yaml")), ids=lambda path: path.name)
def test_every_mistake_has_its_sentence(path: Path) -> None:
    text = path.read_text()
    expected = sorted(line.removeprefix("# expect: ") for line in text.splitlines() if line.startswith("# expect: "))
    with pytest.raises(Invalid) as caught:
        validate_gateway(parse_yaml(text.encode()))
    assert sorted(map(str, caught.value.mistakes)) == expected
    assert expected


@pytest.mark.parametrize("path", sorted((GATEWAYS / "golden").glob("*.in.yaml")), ids=lambda path: path.name)
def test_a_valid_gateway_keeps_what_was_written(path: Path) -> None:
    document = gateway_to_document(validate_gateway(parse_yaml(path.read_bytes())))
    assert validate_gateway(document) == validate_gateway(parse_yaml(path.read_bytes()))
    assert gateway_to_document(validate_gateway(document)) == document


@pytest.mark.parametrize(
    "document",
    [
        {"spec": None},
        {"spec": {"listeners": [None, 3, {"tls": 3, "hosts": {}, "port": True, "address": 3, "compression": []}]}},
        {"spec": {"listeners": [{"name": "a", "tls": {"certificates": [{}], "clientCertificates": []}}]}},
        {"spec": {"certificates": [], "authorities": 3, "trustedProxies": [], "accessLog": {"destinations": [3]}}},
        {"spec": {"trustedProxies": {"networks": [3, {}]}, "accessLog": {"fields": [], "destinations": {}}}},
        {"metadata": [], "kind": {}, "apiVersion": None},
    ],
)
def test_any_shape_of_nonsense_is_invalid_and_nothing_worse(document: JsonObject) -> None:
    with pytest.raises(Invalid):
        validate_gateway(document)


@pytest.mark.parametrize(
    ("address", "other_address", "met"),
    [
        ("0.0.0.0", "127.0.0.1", True),  # noqa: S104
        ("::", "::1", True),
        ("::", "127.0.0.1", False),
        ("127.0.0.1", "127.0.0.2", False),
        ("::1", "0:0:0:0:0:0:0:1", True),
    ],
)
def test_listeners_share_no_port_of_an_address(address: str, other_address: str, met: bool) -> None:
    listeners = [{"name": "a", "address": address, "port": 80}, {"name": "b", "address": other_address, "port": 80}]
    document = {"apiVersion": "gatewright.dev/v1", "kind": "Gateway", "spec": {"listeners": listeners}}
    if not met:
        assert len(validate_gateway(document).spec.listeners) == 2
        return
    with pytest.raises(Invalid, match=r"spec.listeners\[1\].port: expected a port that no other listener has"):
        validate_gateway(document)


def asking(**listener: object) -> JsonObject:
    listeners = [{"name": "http", **listener}]
    certificates = {"web": {"acme": {"hosts": ["a.example.org"], "termsOfServiceAgreed": True}}}
    spec = {"listeners": listeners, "certificates": certificates}
    return {"apiVersion": "gatewright.dev/v1", "kind": "Gateway", "spec": spec}


def test_without_the_packages_acme_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    assert validate_gateway(asking())
    monkeypatch.setitem(sys.modules, LIBRARY, None)  # nothing of this name can be imported
    with pytest.raises(Invalid, match=r"web\.acme: expected the packages that speak ACME, got none; .*\[acme"):
        validate_gateway(asking())


@pytest.mark.parametrize(
    ("hosts", "answered"),
    [([], True), (["a.example.org"], True), (["*.example.org"], True), (["*.a.example.org", "b.example.org"], False)],
)
def test_some_listener_answers_challenges_for_each_host(hosts: list[str], answered: bool) -> None:
    if answered:
        assert validate_gateway(asking(hosts=hosts))
        return
    with pytest.raises(Invalid, match=r"hosts\[0\]: expected a listener with protocol: http that serves a.example.org"):
        validate_gateway(asking(hosts=hosts))
