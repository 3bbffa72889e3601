from __future__ import annotations

import base64
import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from gatewright_cli.node.listeners import gateway
from gatewright_cli.node.listeners.gateway import Gateway, GatewayError, GatewayReader, Listener
from gatewright_controller._gen import node_pb2

WRITTEN = """
apiVersion: gatewright.dev/v1
kind: Gateway
spec:
  listeners:
    - {name: http, address: "::", port: 80}
    - {name: https, port: 443, protocol: https, tls: {certificates: [web]}}
  certificates: {web: {certificateFile: /c.pem, keyFile: /k.pem}}
  limits: {connections: 7, memory: 268435456}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "gateway.yaml").write_text(WRITTEN)
    return tmp_path / "gateway.yaml"


def effective(file: Path | None, options: dict[str, object]) -> Gateway:
    with closing(GatewayReader(file, options)) as reader:
        return reader.effective()


def rendered(file: Path, options: dict[str, object], state_dir: Path) -> str:
    with closing(GatewayReader(file, options)) as reader:
        reader.effective()
        reader.start_rendering(state_dir)
        return reader.rendered()


def test_without_a_file_it_is_one_listener() -> None:
    assert effective(None, {}).listeners == (Listener("http"),) == Gateway().listeners


def test_options_override_the_file(file: Path) -> None:
    found = effective(file, {"port": 8081})
    assert [listener.url for listener in found.listeners] == ["http://[::1]:8081", "https://127.0.0.1:443"]
    assert (found.connections, found.heap, found.addresses) == (7, 268435456, "[::]:8081, 127.0.0.1:443")
    assert found.files("certificates") == {"web": {"certificateFile": "/c.pem", "keyFile": "/k.pem"}}
    assert found.files("authorities") == {}


def test_mistakes_have_their_places(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWRIGHT_GATEWAY_LIMITS_HEADER_COUNT", "3")
    file.write_text(WRITTEN.replace("port: 443", "port: many"))
    with pytest.raises(GatewayError) as found:
        effective(file, {"access_log_sample": 7})
    (option,) = [mistake for mistake in found.value.mistakes if mistake.startswith("--access-log-sample: ")]
    (variable,) = [
        mistake for mistake in found.value.mistakes if mistake.startswith("GATEWRIGHT_GATEWAY_LIMITS_HEADER_COUNT: ")
    ]
    assert f"{file}:7: spec.listeners[1].port: expected a whole number, got 'many'" in found.value.mistakes
    assert str(file) not in option + variable


@pytest.mark.parametrize(("text", "expected"), [
    ("[]", "expected a document with `kind: Gateway`, got an array; write one"),
    ("", "expected a document with `kind: Gateway`, got null; write one"),
    ("{", "gateway.yaml:"),
])  # fmt: skip
def test_invalid_documents(file: Path, text: str, expected: str) -> None:
    file.write_text(text)
    with pytest.raises(GatewayError, match=expected):
        effective(file, {})


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(GatewayError, match=r"gateway\.yaml: expected a file, got no such file or directory"):
        effective(tmp_path / "gateway.yaml", {})


def test_the_rendered_gateway_is_the_engines_message(file: Path, tmp_path: Path) -> None:
    message = node_pb2.Gateway.FromString(base64.b64decode(rendered(file, {}, tmp_path)))
    assert len(message.listeners) == 2
    assert [certificate.name for certificate in message.certificates] == ["web"]


def test_a_process_of_its_own_returns_the_same(file: Path, tmp_path: Path) -> None:
    request = json.dumps({"file": str(file), "options": {"port": 8081}, "stateDir": str(tmp_path)})
    command = [sys.executable, "-m", "gatewright_cli.node.listeners.gateway_process"]
    output = subprocess.run(command, input=request, capture_output=True, text=True, check=True).stdout
    assert gateway.gateway_from_json(json.loads(output)) == effective(file, {"port": 8081})
    assert json.loads(output)["rendered"] == rendered(file, {"port": 8081}, tmp_path)


@pytest.mark.parametrize(
    ("host", "other", "both"),
    [
        ("127.0.0.1", "127.0.0.1", True), ("127.0.0.1", "0.0.0.0", True), ("::1", "::", True),  # noqa: S104
        ("127.0.0.1", "127.0.0.2", False), ("0.0.0.0", "::", False), ("127.0.0.1", "::1", False),  # noqa: S104
    ],
)  # fmt: skip
def test_hosts_that_take_from_each_other(host: str, other: str, both: bool) -> None:
    assert gateway.overlap(host, other) is both
    assert gateway.overlap(other, host) is both
