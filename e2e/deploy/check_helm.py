"""The chart by the real Helm, by Kubernetes' API schemas and its evaluator of Pod Security: `make helm-test`.

Not named test_*.py: Helm takes minutes to compile, once.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml
from go_tool import binary
from own_environment import install

from e2e.kit.chart import CHART, DIGEST, VALUES, digest_of_sources, objects, render_of
from e2e.kit.markdown import blocks, page

KUBERNETES = ("1.29", "1.34", "1.37")
"""The oldest version that the chart is for, and newer ones."""
IMAGE_VOLUMES = "1.31"
"""Older ones do not have them."""
OF_OTHERS = ("Certificate", "ServiceMonitor")
"""Kinds that Kubernetes has no schema of: tools/go/helm/manifests reads them by their projects' own types."""
MINIMAL = CHART.parent / "values" / "minimal.yaml"
values = pytest.mark.parametrize("values", VALUES, ids=lambda values: values.stem)


def helm(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    result = subprocess.run([str(binary("helm")), *words], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0 or not check, result.stderr
    return result


def template(file: Path, *more: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return helm("template", "gateway", str(CHART), "--namespace", "edge", "--values", str(file), *more, check=check)


@values
def test_helm_renders_what_is_kept(values: Path, request: pytest.FixtureRequest) -> None:
    rendered = template(values).stdout
    if request.config.getoption("--update"):
        render_of(values).write_text(rendered)
        DIGEST.write_text(digest_of_sources() + "\n")
    assert render_of(values).read_text() == rendered, "make helm-test ARGS=--update writes the renders anew"


def test_helm_renders_the_values_of_the_page(tmp_path: Path) -> None:
    """docs/how-to/kubernetes.md: each block, over the least that has to be said where it does not say that itself."""
    samples = [yaml.safe_load(block) for block in blocks(page("docs/how-to/kubernetes.md"), "yaml")]
    for number, sample in enumerate(samples):
        file = tmp_path / f"{number}.yaml"
        file.write_text(yaml.safe_dump(sample))
        more = () if "controller" in sample else ("--values", str(file))
        assert "kind: Deployment" in template(MINIMAL if more else file, *more).stdout
    assert len(samples) >= 8


@values
def test_helm_finds_nothing_to_improve(values: Path) -> None:
    helm("lint", "--strict", "--namespace", "edge", "--values", str(values), str(CHART))


@pytest.mark.parametrize("version", KUBERNETES)
def test_the_api_of_kubernetes_has_every_field(version: str, tmp_path: Path) -> None:
    command = [str(install("kubernetes") / "bin" / "kubernetes-validate"), "--strict", "--kubernetes-version", version]
    files = [render_of(file) for file in VALUES]
    if version < IMAGE_VOLUMES:
        files = [file for file in files if file.stem != "policies-image"]
    for file in files:
        kept = [document for document in file.read_text().split("\n---\n") if _kind(document) not in OF_OTHERS]
        (tmp_path / file.name).write_text("\n---\n".join(kept))
    result = subprocess.run(
        [*command, *sorted(str(file) for file in tmp_path.glob("*.yaml"))],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert len(list(tmp_path.glob("*.yaml"))) >= 10


def _kind(document: str) -> str:
    return next((line.removeprefix("kind: ") for line in document.splitlines() if line.startswith("kind: ")), "")


@values
def test_every_pod_meets_the_restricted_pod_security_standard(values: Path) -> None:
    assert _refusals(render_of(values).read_text()) == ""


def test_a_pod_that_does_not_meet_it_is_found() -> None:
    """As are fields that the kinds of other projects do not have."""
    render = render_of(MINIMAL).read_text()
    for good, bad, refusal in (
        ("allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true", "allowPrivilegeEscalation"),
        ("capabilities: {drop: [ALL]}", "capabilities: {add: [NET_ADMIN]}", "unrestricted capabilities"),
        ("runAsUser: 10001", "runAsUser: 0", "runAsUser=0"),
        ("type: RuntimeDefault", "type: Unconfined", "seccompProfile"),
    ):
        broken = render.replace(good, bad)
        assert broken != render
        assert refusal in _refusals(broken)
    documents = render_of(Path("monitored.yaml")).read_text().split("\n---\n")
    monitor = next(document for document in documents if _kind(document) == "ServiceMonitor")
    assert "unknown field" in _refusals(monitor.replace("path: /metrics", "route: /metrics"))


def _refusals(manifests: str) -> str:
    program = str(binary("manifests"))
    result = subprocess.run([program], input=manifests, capture_output=True, text=True, timeout=60, check=False)
    assert result.stderr == ""
    return result.stdout


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("controller.tokens.existingSecret=", "controller.tokens.existingSecret: expected the name of a Secret with"),
        (
            "controller.tls.existingSecret=",
            "controller.tls: expected existingSecret, the name of a Secret with tls.crt",
        ),
        (
            "controller.tls.certManager.enabled=true",
            "controller.tls: expected either existingSecret or certManager, got",
        ),
        ("controller.replicas=2", "controller.replicas: expected 1 with SQLite, got 2: name a Secret with the URL"),
        ("controller.replicas=3", "at '/controller/replicas': maximum: got 3, want 2"),
        ("controller.enabled=false", "nodes.join.address: expected it where controller.enabled is false, got none"),
        ("nodes.replica=3", "at '/nodes': additional properties 'replica' not allowed"),
        ("nodes.drain.acceptSeconds=90", "nodes.drain: expected acceptSeconds of at most seconds, got 90 and 60"),
        (
            "nodes.service.ports.htp=80",
            "nodes.service.ports: expected names of listeners of the gateway (http), got htp",
        ),
        (
            "nodes.autoscaling.enabled=true,nodes.autoscaling.cpuPercent=0",
            "expected cpuPercent, busyWorkers or metrics",
        ),
        (
            "nodes.autoscaling.enabled=true,nodes.autoscaling.minReplicas=20",
            "expected minReplicas of at most maxReplicas",
        ),
        (
            "policies.image.reference=a,policies.volume.emptyDir.medium=Memory",
            "expected either image.reference or volume",
        ),
        ("policies.image.mount=link", "at '/policies/image/mount': value must be one of 'volume', 'copy'"),
        (
            "gateway.listeners[0].name=http,gateway.listeners[0].port=80",
            "listeners/0/port': minimum: got 80, want 1,024",
        ),
        ("controller.settings.listen=x", "expected settings that the chart does not make by itself, got listen"),
    ],
)
def test_wrong_values_are_refused_with_the_reason(options: str, sentence: str) -> None:
    refused = template(MINIMAL, "--set", options, check=False)
    assert refused.returncode == 1
    assert sentence in refused.stderr


def test_the_notes_say_how_to_reach_it() -> None:
    notes = helm(
        "install", "gateway", str(CHART), "--namespace", "edge", "--dry-run=client", "--values", str(MINIMAL)
    ).stdout
    for line in (
        "kubectl -n edge port-forward service/gateway-gatewright-controller 9090:9090",
        "kubectl -n edge get secret gatewright-tokens -o jsonpath='{.data.token}' | base64 -d > token",
        "kubectl -n edge get secret gatewright-tls -o jsonpath='{.data.ca\\.crt}' | base64 -d > authority.pem",
        "gatewright node list --controller https://localhost:9090 --controller-authority authority.pem",
    ):
        assert line in notes


def test_every_kind_is_rendered_somewhere() -> None:
    kinds = {item["kind"] for file in VALUES for item in objects(render_of(file))}
    assert kinds >= {
        "Certificate", "ConfigMap", "Deployment", "HorizontalPodAutoscaler", "NetworkPolicy", "PersistentVolumeClaim",
        "PodDisruptionBudget", "Service", "ServiceAccount", "ServiceMonitor",
    }  # fmt: skip
