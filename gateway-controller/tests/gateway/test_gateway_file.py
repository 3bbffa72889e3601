from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from gatewright_controller._gen import node_pb2
from gatewright_controller.gateway.gateway_file import bootstrap_values, effective, listening, render
from gatewright_documents.mistake import Invalid
from gatewright_documents.values import JsonObject
from gatewright_documents.yaml_reader import parse_yaml

WRITTEN = parse_yaml(
    b"""
apiVersion: gatewright.dev/v1
kind: Gateway
spec:
  listeners:
    - {name: open, address: 10.0.0.1, port: 80, redirect: {}}
    - {name: safe, address: 10.0.0.1, port: 443, protocol: https, http3: true, tls: {certificates: [main]}}
  certificates: {main: {certificateFile: /tls/main.pem, keyFile: /tls/main.key}}
  limits: {concurrentStreams: 50}
  admin: {port: 9000}
"""
)


def test_without_a_file_there_is_one_listener_on_loopback() -> None:
    document = effective(None, {}, {})
    assert listening(document) == [("http", "127.0.0.1", 8080, "http", False, False)]
    assert (bootstrap_values(document).connections, bootstrap_values(document).memory) == (None, None)


def test_options_go_over_the_environment_and_that_over_the_file() -> None:
    environment = {
        "GATEWRIGHT_GATEWAY_LIMITS_CONCURRENT_STREAMS": "60",
        "GATEWRIGHT_GATEWAY_LIMITS_CONNECTIONS": "700",
        "GATEWRIGHT_GATEWAY_TIMEOUTS_DRAIN": "3s",
        "GATEWRIGHT_GATEWAY_TRUSTED_PROXIES_NETWORKS": "[10.0.0.0/8]",
        "GATEWRIGHT_GATEWAY_PORT": "tcp://10.0.0.1:80",
        "GATEWRIGHT_GATEWAY_LISTENERS_PORT": "1",
    }
    options = {"max_connections": 800, "host": "::", "admin_port": 9001, "source": "/etc/gateway.yaml"}
    document = effective(WRITTEN, environment, options)
    spec = document["spec"]
    assert spec["limits"] == {"concurrentStreams": 60, "connections": 800}
    assert (spec["timeouts"], spec["trustedProxies"]) == ({"drain": "3s"}, {"networks": ["10.0.0.0/8"]})
    assert listening(document) == [
        ("open", "::", 80, "http", False, False), ("safe", "10.0.0.1", 443, "https", True, True)
    ]  # fmt: skip
    assert bootstrap_values(document).connections == 800
    assert spec["admin"] == {"port": 9001}
    assert document["metadata"]["source"] == "/etc/gateway.yaml"
    assert WRITTEN["spec"]["limits"] == {"concurrentStreams": 50}, "expected what was written to stay"


def test_an_effective_document_is_one_that_stays_as_it_is() -> None:
    document = effective(WRITTEN, {}, {"port": 8000})
    assert effective(document, {}, {}) == document
    assert effective(document, {}, {"port": 80}) == effective(WRITTEN, {}, {})


def test_what_is_rendered_is_the_same_each_time() -> None:
    message = node_pb2.Gateway.FromString(render(effective(WRITTEN, {}, {})))
    again = node_pb2.Gateway.FromString(render(effective(WRITTEN, {}, {})))
    assert message == again
    assert len(message.listeners) == 3
    assert [
        (certificate.name, certificate.certificate_file, certificate.key_file) for certificate in message.certificates
    ] == [("main", "/tls/main.pem", "/tls/main.key")]
    other = node_pb2.Gateway.FromString(render(effective(WRITTEN, {}, {"port": 81})))
    assert len({message.digest, other.digest, ""}) == 3


@pytest.mark.parametrize(
    ("environment", "options", "sentence"),
    [
        ({"GATEWRIGHT_GATEWAY_LIMITS_HEADER_COUNT": "many"}, {}, "GATEWRIGHT_GATEWAY_LIMITS_HEADER_COUNT: expected"),
        ({}, {"port": 70000}, "--port: expected at most 65535, got 70000"),
        ({}, {"host": "nowhere"}, "--host: expected an address such as"),
        ({}, {"access_log": "here"}, "absolute path"),
    ],
)
def test_a_mistake_names_the_variable_or_option_that_has_it(
    environment: dict[str, str], options: dict[str, object], sentence: str
) -> None:
    with pytest.raises(Invalid) as caught:
        effective(None, environment, options)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("document", [{"spec": 3}, {"spec": {"listeners": 3}}, {"spec": {"listeners": []}}, {"a": 1}])
def test_a_document_that_is_no_gateway_is_refused_whatever_the_options(document: JsonObject) -> None:
    with pytest.raises(Invalid):
        effective(document, {"GATEWRIGHT_GATEWAY_LIMITS_CONNECTIONS": "1"}, {"port": 1})


def test_it_is_the_same_in_each_process() -> None:
    """Nodes and controllers compare digests, so maps in messages must have a fixed order."""
    program = "from gatewright_controller.gateway.gateway_file import *; print(render(effective(None, {}, {})).hex())"
    made = {subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout for _ in range(4)}
    assert made == {f"{render(effective(None, {}, {})).hex()}\n".encode()}


def print_listeners(file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gatewright_controller", "--print-listeners", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_listeners_are_printed_as_envoy_is_given_them(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(
        "{apiVersion: gatewright.dev/v1, kind: Gateway, spec: {"
        "listeners: [{name: safe, port: 8443, protocol: https, "
        "tls: {certificates: [main], clientCertificates: {authority: staff}}}],"
        "certificates: {main: {certificateFile: /tls/main.pem, keyFile: /tls/main.key}},"
        "authorities: {staff: {file: /tls/staff.pem, revocationFile: /tls/staff.crl}}}}"
    )
    printed = json.loads(print_listeners(file).stdout)
    (listener,) = printed["listeners"]
    assert listener["address"]["socket_address"]["port_value"] == 8443
    main = {"certificate_chain": {"filename": "/tls/main.pem"}, "private_key": {"filename": "/tls/main.key"}}
    staff = {"trusted_ca": {"filename": "/tls/staff.pem"}, "crl": {"filename": "/tls/staff.crl"}}
    assert printed["secrets"] == {
        "certificate/main": {"tls_certificate": main}, "authority/staff": {"validation_context": staff}
    }  # fmt: skip
    named = json.dumps(listener)
    assert all(f'"name": "{secret}"' in named for secret in printed["secrets"])


def test_of_a_document_that_is_no_gateway_no_listeners_are_printed(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("apiVersion: gatewright.dev/v1\nkind: Api\n")
    done = print_listeners(file)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{file}:2: kind: expected 'Gateway', got 'Api'" in done.stderr


def test_nothing_is_read_but_what_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GATEWRIGHT_GATEWAY_TIMEOUTS_DRAIN", "9s")
    assert effective(None, {}, {}) == effective(None, {}, {})
    assert "timeouts" not in effective(None, {}, {})["spec"]
