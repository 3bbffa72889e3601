"""The Helm chart by its renders: every option, variable, port and path in them is one that the product has.

The renders are files, so that these tests need no Helm; `make helm-test` holds them to what Helm makes of the chart.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.kit.chart import (
    CHART,
    DIGEST,
    HELM,
    RENDERS,
    VALUES,
    Object,
    config,
    container,
    digest_of_sources,
    gateway_nodes,
    objects,
    pods,
    render_of,
)
from e2e.kit.markdown import page
from e2e.kit.places import ROOT

ADMIN_PATHS = ("/healthz", "/metrics", "/ready")  # e2e/observe/test_admin_listener.py
OF_ALL_PROGRAMS = ("HOME", "GOMEMLIMIT")  # docs/how-to/operations.md, a fixed list
FORWARDED = re.compile(r"--(py|pe|envoy)\.[a-z-]+")
renders = pytest.mark.parametrize("render", [render_of(values) for values in VALUES], ids=lambda render: render.stem)


def test_the_renders_are_of_this_chart() -> None:
    assert len(VALUES) >= 10
    assert {file.name for file in RENDERS.glob("*.yaml")} == {values.name for values in VALUES}
    cure = "the chart or a file of values has changed since Helm rendered them: make helm-test ARGS=--update"
    assert DIGEST.read_text().strip() == digest_of_sources(), cure


@cache
def output_of(*words: str) -> str:
    command = [str(Path(sys.executable).with_name(words[0])), *words[1:]]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, cwd=ROOT).stdout


@cache
def options_of(*words: str) -> frozenset[str]:
    return frozenset(re.findall(r"--[a-z][a-z-]+", output_of(*words, "--help")))


@renders
def test_every_option_and_variable_is_one_of_the_product(render: Path) -> None:
    for component, pod in pods(render):
        arguments, known = container(pod)["args"], options_of("gatewright", "run")
        if component == "controller":
            assert arguments[:3] == ["python", "-m", "gatewright_controller"]
            arguments, known = arguments[3:], options_of("python", "-m", "gatewright_controller")
        names = [argument.partition("=")[0] for argument in arguments]
        assert [name for name in names if name not in known and not FORWARDED.fullmatch(name)] == []
        passed = {argument.partition("=")[2] for argument in arguments if argument.startswith("--pass-env=")}
        documented = set(re.findall(r"`(GATEWRIGHT_\w+)`", page("docs/reference/environment.md")))
        settings = output_of("python", "-m", "gatewright_controller", "--print-settings")
        documented |= set(re.findall(r"# Environment: (GATEWRIGHT_\w+)", settings))
        for variable in container(pod)["env"]:
            assert variable["name"] in {*documented, *OF_ALL_PROGRAMS, *passed}


@renders
def test_settings_and_gateways_are_accepted(render: Path, tmp_path: Path) -> None:
    gateway = tmp_path / "gateway.yaml"
    gateway.write_text(config(render, "gateway.yaml"))
    assert json.loads(output_of("python", "-m", "gatewright_controller", "--print-listeners", str(gateway)))
    if any(component == "controller" for component, _ in pods(render)):
        known = yaml.safe_load(output_of("python", "-m", "gatewright_controller", "--print-settings"))
        assert set(yaml.safe_load(config(render, "settings.yaml"))) <= set(known)


@renders
def test_probes_and_services_name_ports_that_are_served(render: Path) -> None:
    spec = yaml.safe_load(config(render, "gateway.yaml"))["spec"]
    listening = {listener["port"] for listener in spec["listeners"]}
    by_selector = {}
    for component, pod in pods(render):
        (runs,) = pod["spec"]["containers"]
        ports = {port["name"]: port["containerPort"] for port in runs["ports"]}
        if component in ("nodes", "gateway-nodes"):
            own = listening if component == "nodes" else set()  # a Gateway's are the controller's to add
            assert set(ports.values()) == own | {spec["admin"]["port"]}
            assert spec["admin"]["address"] == "0.0.0.0"  # noqa: S104
            expected = {"path": ADMIN_PATHS, "port": ports["admin"]}
        else:
            arguments = dict(argument.partition("=")[::2] for argument in runs["args"][3:])
            assert arguments["--listen"] == f"0.0.0.0:{ports['management']}"
            assert arguments["--node-tls-listen"] == f"0.0.0.0:{ports['nodes']}"
            expected = {"path": ("/healthz",), "port": ports["management"]}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            get = runs[probe]["httpGet"]
            assert get["path"] in expected["path"]
            assert ports[get["port"]] == expected["port"]
            assert get.get("scheme", "HTTP") == ("HTTPS" if component == "controller" else "HTTP")
        by_selector[component] = (pod["metadata"]["labels"], ports)
    for service in objects(render, "Service"):
        (labels, ports) = by_selector[service["spec"]["selector"]["app.kubernetes.io/component"]]
        assert service["spec"]["selector"].items() <= labels.items()
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in {*ports, *ports.values()}


@renders
def test_what_a_pod_mounts_is_there(render: Path) -> None:
    names = {(item["kind"], item["metadata"]["name"]) for item in objects(render)}
    for _, pod in pods(render):
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        for runs in (*pod["spec"].get("initContainers", ()), container(pod)):
            mounts = {mount["name"]: mount["mountPath"] for mount in runs["volumeMounts"]}
            assert set(mounts) <= set(volumes)
            for argument in runs.get("args", ()):
                path = argument.rpartition("=")[2].removeprefix("sqlite:").removeprefix("unix:")
                if path.startswith("/") and not path.startswith("/app/"):
                    assert any(path.startswith(folder) for folder in mounts.values()), argument
        own = volumes["config"]["configMap"]["name"]
        assert ("ConfigMap", own) in names
        if (claim := volumes["state"].get("persistentVolumeClaim", {}).get("claimName")) != "controller-database":
            assert claim is None or ("PersistentVolumeClaim", claim) in names


@renders
def test_a_node_has_the_time_that_its_drain_takes(render: Path) -> None:
    for component, pod in pods(render):
        if component in ("nodes", "gateway-nodes"):
            arguments = dict(argument.split("=", 1) for argument in container(pod)["args"])
            drain = int(arguments["--drain-seconds"])
            assert pod["spec"]["terminationGracePeriodSeconds"] >= drain + 10
            assert int(arguments["--envoy.drain-time-s"]) <= drain


def test_nodes_of_gateways_are_no_pods_of_the_charts_own_service() -> None:
    """The controller adds labels to the template's, and takes none away."""
    render = RENDERS / "gateway-api.yaml"
    (deployment, service) = gateway_nodes(render)
    assert (deployment["kind"], service["kind"]) == ("Deployment", "Service")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for other in VALUES:
        for served in objects(render_of(other), "Service"):
            assert not served["spec"]["selector"].items() <= labels.items()
    policies = {item["metadata"]["name"]: item["spec"] for item in objects(render, "NetworkPolicy")}
    (peers,) = [rule["from"] for rule in policies["gateway-gatewright-controller"]["ingress"]]
    assert any(peer["podSelector"]["matchLabels"].items() <= labels.items() for peer in peers)


def test_only_the_controller_of_gateway_api_speaks_to_kubernetes() -> None:
    for values in VALUES:
        accounts = {
            subject["name"] for item in objects(render_of(values), "RoleBinding") for subject in item["subjects"]
        }
        for component, pod in pods(render_of(values)):
            speaks = values.stem == "gateway-api" and component == "controller"
            assert pod["spec"]["automountServiceAccountToken"] is speaks
            assert (pod["spec"]["serviceAccountName"] in accounts) is speaks


def test_metrics_that_scale_and_are_scraped_are_documented() -> None:
    scaled = {
        metric["pods"]["metric"]["name"]
        for item in objects(RENDERS / "autoscaling.yaml", "HorizontalPodAutoscaler")
        for metric in item["spec"]["metrics"]
        if metric["type"] == "Pods"
    }
    assert scaled == {"gatewright_executor_workers_busy", "gatewright_exchanges_active"}
    assert all(f"`{name}`" in page("docs/reference/metrics.md") for name in scaled)
    services = objects(RENDERS / "monitored.yaml", "Service")
    for monitor in objects(RENDERS / "monitored.yaml", "ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        (service,) = [item for item in services if wanted <= item["metadata"]["labels"].items()]
        ports = {port["name"] for port in service["spec"]["ports"]}
        assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= ports


def test_the_schema_has_what_the_values_have() -> None:
    """Each way, so that no value is undocumented and none is refused."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    known = schema["$defs"]

    def compare(at: str, schema: Object, value: Any) -> None:
        schema = known[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
        if schema.get("additionalProperties") is False:
            optional = {"global", "minAvailable", "limits", "requests", "claims"}
            assert set(schema["properties"]) - optional <= set(value) <= set(schema["properties"]), at
            for key in value:
                compare(f"{at}.{key}", schema["properties"][key], value[key])

    compare("values", schema, yaml.safe_load((CHART / "values.yaml").read_text()))


def test_the_chart_is_of_the_products_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == output_of("gatewright", "version").split()[1]
    assert (HELM / "values").is_dir()
