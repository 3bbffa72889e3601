from __future__ import annotations

import base64
from pathlib import Path

import pytest
import yaml
from gatewright_controller.gateway_api import FILES_FOLDER, NODE_LABEL, GatewayNodes, GatewayPort
from gatewright_controller.kubernetes.node_template import (
    CONTROLLER_LABEL,
    DIGEST,
    Placement,
    addresses_of,
    node_objects,
    object_name,
    read_template,
)
from gatewright_documents.mistake import Invalid
from gatewright_documents.values import JsonObject

ROOT = Path(__file__).resolve().parents[3]
RENDER = ROOT / "deploy" / "helm" / "renders" / "gateway-api.yaml"
CLASS = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "GatewayClass",
    "metadata": {"name": "gatewright", "uid": "u-1"},
}
AT = Placement("edge", "gatewright.dev/gateway-controller", CLASS)
NODES = GatewayNodes(
    ("Gateway", "shop", "web"),
    {NODE_LABEL: "shop.web"},
    (GatewayPort("http", 80, 10080), GatewayPort("https", 443, 10443), GatewayPort("https-udp", 443, 10443, "UDP")),
    ({"type": "IPAddress", "value": "192.0.2.7"}, {"type": "Hostname", "value": "a.example"}),
    {"team": "shop", NODE_LABEL: "another"},
    {"note": "mine"},
    {"web.crt": b"certificate", "web.key": b"key"},
)


def file_of_the_chart(folder: Path) -> Path:
    maps = [item for item in yaml.safe_load_all(RENDER.read_text()) if item and item["kind"] == "ConfigMap"]
    file = folder / "nodes.yaml"
    file.write_text(next(item["data"]["nodes.yaml"] for item in maps if "nodes.yaml" in item["data"]))
    return file


@pytest.fixture
def made(tmp_path: Path) -> list[JsonObject]:
    return node_objects(read_template(file_of_the_chart(tmp_path)), NODES, AT)


def test_the_charts_template_becomes_a_deployment_whose_pods_join_with_the_gateways_label(
    made: list[JsonObject],
) -> None:
    _, deployment, _ = made
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["args"][-2:] == ["--join-gateway", f"--node-label={NODE_LABEL}=shop.web"]
    assert container["args"][0].startswith("--join=")
    ports = [(port["containerPort"], port.get("protocol", "TCP")) for port in container["ports"]]
    assert ports == [(9901, "TCP"), (10080, "TCP"), (10443, "TCP"), (10443, "UDP")]


def test_the_service_selects_these_pods_alone(made: list[JsonObject]) -> None:
    _, deployment, service = made
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == {NODE_LABEL: "shop.web"}
    assert deployment["spec"]["selector"]["matchLabels"] == {
        NODE_LABEL: "shop.web",
        "app.kubernetes.io/instance": "gateway",
    }
    assert {**deployment["spec"]["selector"]["matchLabels"], **service["spec"]["selector"]}.items() <= labels.items()
    assert service["spec"]["ports"][2] == {"name": "https-udp", "port": 443, "targetPort": 10443, "protocol": "UDP"}
    assert service["spec"]["externalIPs"] == ["192.0.2.7"]


def test_both_belong_to_the_class_and_say_whose_they_are(made: list[JsonObject]) -> None:
    for document in made:
        metadata = document["metadata"]
        assert (metadata["name"], metadata["namespace"]) == (object_name(NODES), "edge")
        assert metadata["labels"].items() >= {
            "team": "shop", NODE_LABEL: "shop.web", CONTROLLER_LABEL: "gatewright.dev.gateway-controller",
            "gateway.networking.k8s.io/gateway-name": "web", "app.kubernetes.io/managed-by": "gatewright",
        }.items()  # fmt: skip
        assert metadata["annotations"]["note"] == "mine"
        assert metadata["ownerReferences"] == [
            {"apiVersion": CLASS["apiVersion"], "kind": "GatewayClass", "name": "gatewright", "uid": "u-1"}
        ]


def test_its_files_are_a_secret_that_its_pods_mount(made: list[JsonObject]) -> None:
    """Its name says nothing of what is in it: another certificate is no other pod."""
    secret, deployment, _ = made
    assert {name: base64.b64decode(content) for name, content in secret["data"].items()} == NODES.files
    pod = deployment["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["mountPath"]: mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
    assert volumes[mounts[FILES_FOLDER]]["secret"]["secretName"] == secret["metadata"]["name"]


def test_the_digest_changes_with_what_is_applied(made: list[JsonObject], tmp_path: Path) -> None:
    template = read_template(file_of_the_chart(tmp_path))
    again = node_objects(template, NODES, AT)
    assert again == made
    other, *_ = node_objects(template, NODES, Placement("b", "c/d", None))
    assert other["metadata"]["annotations"][DIGEST] != made[0]["metadata"]["annotations"][DIGEST]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("kind: Deployment\n", "expected a Deployment and a Service in"),
        ("kind: Deployment\n---\nkind: Service\n", "expected a container 'node' in spec.template.spec.containers"),
        ("a: [\n", "expected YAML in"),
        (None, "expected a file that can be read in"),
    ],
)
def test_a_wrong_template_is_refused_with_the_cure(text: str | None, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "nodes.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(Invalid) as refused:
        read_template(file)
    assert sentence in str(refused.value)
    assert "the chart renders one with gatewayApi.enabled" in str(refused.value)


@pytest.mark.parametrize(
    ("service", "addresses"),
    [
        ({"spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.1"}}, []),
        (
            {
                "spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.1"},
                "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "lb.example"}]}},
            },
            [("IPAddress", "192.0.2.1"), ("Hostname", "lb.example")],
        ),
        ({"spec": {"type": "ClusterIP", "clusterIPs": ["10.0.0.1", "fd00::1"]}},
         [("IPAddress", "10.0.0.1"), ("IPAddress", "fd00::1")]),
        ({"spec": {"type": "ClusterIP", "clusterIP": "10.0.0.1", "externalIPs": ["192.0.2.7"]}},
         [("IPAddress", "192.0.2.7")]),
        ({"spec": {"type": "ClusterIP", "clusterIP": "None"}}, []),
        ({}, []),
    ],
)  # fmt: skip
def test_addresses_are_those_at_which_clients_reach_the_service(
    service: JsonObject, addresses: list[tuple[str, str]]
) -> None:
    assert [(found["type"], found["value"]) for found in addresses_of(service)] == addresses
