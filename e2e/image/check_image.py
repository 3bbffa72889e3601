"""The contents of the image, and its behaviour when it is started as usual: `make image-test`.

Not named test_*.py, because it needs root and Debian's packages: pytest runs it when it is named.
"""

from __future__ import annotations

import io
import json
import socket
import tarfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from e2e.image.container import HARDENED, LIMITS, Container, run_container
from e2e.image.engine import BUILDAH, inspect, output_of, podman
from e2e.kit.attachments import GO_HEADERS, SAMPLE
from e2e.kit.clients import run_clients
from e2e.kit.gateway import api, attach, eventually
from e2e.kit.markdown import blocks, page
from e2e.kit.places import ROOT
from e2e.kit.traffic import traffic
from e2e.kit.upstream import Upstream

SUPERVISOR = "gatewright"
BUILD = (
    "docker build -f gateway-runtime/Dockerfile -t gatewright --build-arg MANIFEST=build.yaml ."  # as engine.py does
)
COMPILERS = (
    "gcc*", "cc", "c++*", "g++*", "cpp", "cpp-*", "clang*", "tcc", "as", "ld", "make", "go", "gofmt", "rustc", "cargo",
    "pip", "pip3*", "uv",
)  # fmt: skip


def python_processes(container: Container) -> list[list[str]]:
    """Those that Python runs. Envoy is in a folder of Python's packages."""
    return [line for line in container.command_lines() if Path(line[0]).name.startswith("python")]


def test_the_image_runs_as_nobody_on_a_read_only_root_under_tini(shared_container: Container) -> None:
    assert shared_container.shell("id -u") == "10001"
    assert shared_container.shell("cat /proc/1/comm") == "tini"
    assert shared_container.command_lines()[0][:3] == ["/usr/bin/tini", "--", "docker-entrypoint.sh"]
    assert shared_container.shell("touch /app/x /x /usr/x 2>/dev/null || echo refused") == "refused"
    owners = shared_container.shell("stat -c %u $(ls -d /proc/[0-9]*)", check=False).split()
    assert set(owners) == {"10001"}


def test_the_image_has_labels_and_defaults(image: str) -> None:
    config = inspect(image)["Config"]
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["/usr/bin/tini", "--", "docker-entrypoint.sh"]
    assert config["Volumes"] == {"/var/lib/gatewright": {}}
    assert config["ExposedPorts"].keys() == {"8080/tcp", "9090/tcp"}


def test_the_health_check_passes_and_fails(image: str, shared_container: Container) -> None:
    test = inspect(shared_container.id)["Config"]["Healthcheck"]["Test"]
    assert test[0] == "CMD"
    podman("healthcheck", "run", shared_container.id)
    with run_container(image) as container:
        container.shell("mv $GATEWRIGHT_RUN_DIR/status.json /tmp/elsewhere")
        with pytest.raises(AssertionError, match="exit code 1"):
            podman("healthcheck", "run", container.id)


def test_the_image_has_no_compiler_and_no_installer(image: str) -> None:
    names = " -o ".join(f"-name '{name}'" for name in ("tini", *COMPILERS))
    script = f"find / -xdev -perm /111 ! -type d \\( {names} \\) -print 2>/dev/null"
    programs = podman("run", "--rm", *HARDENED, "--entrypoint", "sh", image, "-c", f"{script} || true")
    assert programs.split() == ["/usr/bin/tini"]


def test_no_key_or_credential_beside_the_sources_reaches_a_build_stage(tmp_path: Path) -> None:
    files_kept = ["policies/limit/policy.py", "policies/limit/authority.crt", "environment.py", "my-build.yaml"]
    secret = [
        ".env", ".env.production", "prod.env", "policies/limit/.env", "tls/server.pem", "tls/server.key", "a/b.p12",
        "a/b.pfx", "a/b.jks", "id_rsa", ".ssh/id_ed25519", ".git/config", "vendor/x/.git/config", ".netrc", "a/.npmrc",
        ".pypirc", "pip.conf", ".aws/credentials", ".docker/config.json", ".kube/config", "gcp-credentials.json",
        "terraform.tfstate", ".git-credentials", ".gnupg/secring.gpg",
    ]  # fmt: skip
    context = tmp_path / "context"
    for path in (*files_kept, *secret):
        file = context / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY . /context/\n")
    tag = "gatewright:context"
    ignored = ("--ignorefile", str(ROOT / ".dockerignore"))
    output_of(*BUILDAH, "build", *ignored, "--file", str(tmp_path / "Dockerfile"), "--tag", tag, str(context))
    archive = tmp_path / "image.tar"
    podman("save", "--output", str(archive), tag)
    names_in_layers = {name for layer in layers(archive) for name in layer}
    assert names_in_layers == {f"context/{path}" for path in files_kept}


def layers(archive: Path) -> Iterator[list[str]]:
    """The files of each layer of a saved image."""
    with tarfile.open(archive) as image:
        (described,) = json.load(image.extractfile("manifest.json") or io.BytesIO())
        for layer in described["Layers"]:
            with tarfile.open(fileobj=image.extractfile(layer)) as files:
                yield [member.name for member in files if member.isfile()]


def test_the_image_has_only_what_running_needs(shared_container: Container) -> None:
    entries = set(shared_container.shell("ls -A /app/build").split())
    assert entries == {
        "bin", "manifest.json", "policy-definitions", "python-executor", "python-env", "requirements", "sbom.cdx.json",
    }  # fmt: skip
    packages = shared_container.shell("ls /app/venv/lib/python3*/site-packages")
    assert "gatewright_cli" in packages
    assert "gatewright_builder" not in packages


def test_the_runtimes_own_python3_has_installed_what_the_policies_need(shared_container: Container) -> None:
    runtime = shared_container.shell("readlink -f /usr/bin/python3")
    for environment in ("/app/build/python-env/default", "/app/venv"):
        assert shared_container.shell(f"readlink -f {environment}/bin/python") == runtime
    script = "import google._upb._message as extension; print(extension.__file__)"
    extension = shared_container.shell(f'/app/build/python-env/default/bin/python -c "{script}"')
    assert extension.startswith(f"/app/build/python-env/default/lib/{runtime.rpartition('/')[2]}/site-packages/")


def test_a_go_python_go_chain_runs(shared_container: Container, upstream: Upstream) -> None:
    shared_container.deploy(api("sample", upstream.url, SAMPLE))
    answer = httpx.get(f"{shared_container.url}/sample/7")
    request = upstream.to("/7")[0]
    assert answer.status_code == 200
    assert request.value("X-Go-Policy") == answer.headers["X-Go-Policy"] == "go"
    assert request.value("X-Python-Policy")
    assert answer.headers["X-Python-Policy"]


def test_the_operators_page_runs_unchanged(image: str) -> None:
    """docs/how-to/operations.md: build, run and stop, with podman in docker's place, and the limits of this machine."""
    build, run, stop = (line.split() for line in blocks(page("docs/how-to/operations.md"), "sh")[0].splitlines())
    assert " ".join(build) == BUILD
    name = run[run.index("--name") + 1]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [word.replace("8080:8080", f"127.0.0.1:{port}:8080") for word in run[2:-1]]
    try:
        podman("run", "--detach", "--pull", "never", *LIMITS, *words, image, "--with-echo")
        eventually("it is ready", lambda: "ready http" in podman("logs", name, merged=True), 60)
        assert httpx.get(f"http://127.0.0.1:{port}/nothing").status_code == 404
        assert stop == ["docker", "stop", name]
        podman(*stop[1:])
        assert inspect(name)["State"]["ExitCode"] == 0
    finally:
        podman("rm", "--force", "--time", "1", name, check=False)
        podman("volume", "rm", "--force", "gateway-state", check=False)


def test_options_are_passed_on(image: str) -> None:
    options = ("--py.workers", "8", "--pe.drain-timeout=3s", "--envoy.concurrency", "1")
    with run_container(image, *options) as container:
        lines = {line[0].rpartition("/")[2]: " ".join(line) for line in container.command_lines() if line[0] != "sh"}
        executor = next(" ".join(line) for line in container.command_lines() if "main.py" in line)
    assert "--workers 8" in executor
    assert "--drain-timeout 3s" in lines["policy-engine"]
    assert "--concurrency 1" in lines["envoy"]


def test_the_command_can_be_replaced(image: str) -> None:
    assert podman("run", "--rm", *HARDENED, image, "gatewright", "version").startswith("gatewright ")


@pytest.mark.parametrize("keep_alive", [True, False], ids=["keep-alive", "new-connections"])
def test_a_stop_loses_no_request(image: str, upstream: Upstream, keep_alive: bool) -> None:
    with run_container(image) as container:
        container.deploy(api("stopping", upstream.url, SAMPLE))
        with run_clients(f"{container.url}/stopping/x", keep_alive=keep_alive) as clients:
            eventually("traffic flows", lambda: clients.answered > 500)
            assert container.stop() == 0, "expected it to stop before it is killed"
    assert clients.lost == []
    assert clients.first_refusal > clients.last_answered_connect


def test_killed_processes_are_restarted(image: str, upstream: Upstream) -> None:
    with run_container(image) as container:
        container.deploy(api("go", upstream.url, [GO_HEADERS]))
        container.deploy(api("python", upstream.url, [attach("add-python-header")]))
        container.deploy(api("bare", upstream.url))
        for name, spared in (
            ("executor-default-0", {"go", "bare"}),
            ("controller", {"go", "python", "bare"}),
            ("engine", {"bare"}),
            ("envoy", set[str]()),
        ):
            _kill(container, name, spared)
        assert container.stop() == 0


def _kill(container: Container, name: str, spared: set[str]) -> None:
    """Routes that need the killed process fail for a while, in the gateway's own form; the others never."""
    routes = ("go", "python", "bare")
    with traffic(*(f"{container.url}/{route}/x" for route in routes)) as flows:
        eventually("traffic flows", lambda: min(len(flow.answers) for flow in flows) > 20)
        killed = container.kill(name)
        eventually(f"{name} is back", lambda: container.is_back(name, killed), 20)
        eventually("all answer", lambda: all(flow.is_steady() for flow in flows))
        failures = [len(flow.problems) for flow in flows]
        counts = [len(flow.answers) for flow in flows]
        eventually("and go on", lambda: all(len(f.answers) > n + 50 for f, n in zip(flows, counts, strict=True)))
    for route, flow in zip(routes, flows, strict=True):
        if route in spared:
            assert flow.counts().keys() == {200}, (name, route, flow.problems[:3])
    assert [len(flow.problems) for flow in flows] == failures, (name, [flow.problems[-1:] for flow in flows])


def test_without_its_supervisor_the_container_ends_with_all_its_processes(image: str) -> None:
    with run_container(image) as container:
        pid = container.status()["pid"]
        envoy = next(line for line in podman("top", container.id, "hpid", "args").splitlines() if "envoy " in line)
        container.shell(f"kill -9 {pid}", check=False)
        assert container.exit_code() == 137
        assert podman("ps", "--quiet", "--filter", f"id={container.id}") == ""
        assert not Path(f"/proc/{envoy.split()[0]}").exists()


def test_without_python_policies_no_executor_and_nothing_for_one(go_only_image: str, upstream: Upstream) -> None:
    volume = podman("volume", "create").strip()
    options = ("--volume", f"{volume}:/var/lib/gatewright")
    try:
        with run_container(go_only_image, options=options) as container:
            container.deploy(api("go-only", upstream.url, [attach("log-message"), GO_HEADERS]))
            assert httpx.get(f"{container.url}/go-only/x").headers["X-Go-Policy"] == "go"
            assert not [process for process in container.status()["processes"] if "executor" in process["name"]]
            assert container.shell("ls -A /app/build /app/build/python-executor").split() == [
                "/app/build:", "bin", "manifest.json", "policy-definitions", "python-executor", "sbom.cdx.json",
                "/app/build/python-executor:", ".keep",
            ]  # fmt: skip
            assert container.stop() == 0
        with run_container(go_only_image, "--no-controller", options=options) as container:
            assert httpx.get(f"{container.url}/go-only/x").headers["X-Go-Policy"] == "go"
            eventually("what a start needs has ended", lambda: len(python_processes(container)) == 1)
            (supervisor,) = python_processes(container)
            assert supervisor[1].endswith(f"/{SUPERVISOR}")
    finally:
        podman("volume", "rm", "--force", volume)


def test_logs_are_json_lines(shared_container: Container) -> None:
    for_people = ("ready ", "management API ", "Inspector ", "curl ")
    lines = [line for line in shared_container.logs().splitlines() if not line.startswith(for_people)]
    assert all(json.loads(line)["component"] for line in lines)
