"""What `gatewright attach` prints. Whether products read it: e2e/envoy/check_attached.py."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from gatewright_cli.attaching.printing import KINDS
from gatewright_cli.commands import attach_command
from gatewright_cli.main import cli


def printed(*words: str) -> tuple[str, list[dict[str, Any]]]:
    """The text, and its documents."""
    made = CliRunner().invoke(cli, ["attach", *words])
    assert made.exit_code == 0, made.output
    return made.output, list(yaml.safe_load_all(made.output))


def refusal(*words: str) -> str:
    made = CliRunner().invoke(cli, ["attach", *words])
    assert made.exit_code == 2, made.output
    return made.output.splitlines()[-1]


def test_the_command_knows_all_kinds() -> None:
    assert list(attach_command.KINDS) == sorted(KINDS)


@pytest.mark.parametrize(
    ("kind", "kinds", "attach_to"),
    [
        ("envoy-gateway", ["EnvoyExtensionPolicy", "ReferenceGrant"], "httproute/web/shop/*"),
        ("istio", ["EnvoyFilter"], "shop"),
        ("kgateway", ["GatewayExtension", "TrafficPolicy", "ReferenceGrant"], "shop"),
        ("cilium", ["CiliumEnvoyConfig"], "shop"),
    ],
)
def test_resources_are_of_the_routes_namespace(kind: str, kinds: list[str], attach_to: str) -> None:
    text, documents = printed("--print", kind, "--route", "shop", "--namespace", "web", "--engine", "gw.edge:9002")
    assert [document["kind"] for document in documents] == kinds
    assert text.startswith(f"# The Api says `attachTo: [{attach_to}]`.\n")
    namespaces = {document["kind"]: document["metadata"]["namespace"] for document in documents}
    assert namespaces == {name: "edge" if name == "ReferenceGrant" else "web" for name in kinds}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_no_kind_is_open_or_waits_for_bodies_in_envoy(kind: str) -> None:
    text, _ = printed("--print", kind, "--route", "shop")
    assert any(closed in text for closed in ("failure_mode_allow: false", "failOpen: false"))
    assert text.replace("FullDuplexStreamed", "FULL_DUPLEX_STREAMED").count("FULL_DUPLEX_STREAMED") == 2
    assert "BUFFERED" not in text


def test_a_service_of_the_same_namespace_needs_no_grant() -> None:
    words = ("--print", "envoy-gateway", "--route", "shop", "--namespace", "edge", "--engine", "gw.edge.svc:9002")
    assert [document["kind"] for document in printed(*words)[1]] == ["EnvoyExtensionPolicy"]


def test_with_tls_the_engine_is_checked_and_shown_a_certificate() -> None:
    (parts,) = printed("--print", "envoy", "--route", "shop", "--engine", "gw.example:9002", "--tls")[1]
    context = parts["clusters"][0]["transport_socket"]["typed_config"]
    assert context["sni"] == "gw.example"
    assert set(context["common_tls_context"]) == {"tls_certificates", "validation_context"}


def test_mistakes_of_options_are_sentences() -> None:
    assert "expected HOST:PORT, got 'nowhere'" in refusal("--print", "envoy", "--route", "a", "--engine", "nowhere")
    for engine in ("gw:9002", "gw.a.b:9002"):
        expected = f"expected SERVICE.NAMESPACE:PORT, got {engine!r}"
        assert expected in refusal("--print", "istio", "--route", "a", "--engine", engine)
    assert "--tls: expected --print envoy, got istio" in refusal("--print", "istio", "--route", "a", "--tls")
