"""The image as any user, on a read-only root, without a capability: alone, and as the Helm chart runs it.

`make image-test` runs it. It is not named test_*.py, as check_image.py is not.
"""

from __future__ import annotations

import ssl
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from e2e.image.container import Container, run_container
from e2e.image.engine import podman
from e2e.image.pod import User, run_pod
from e2e.kit.as_deployed import Place, wait_for
from e2e.kit.attachments import SAMPLE
from e2e.kit.certificates import Authority, authority
from e2e.kit.chart import RENDERS, config, pods
from e2e.kit.gateway import api
from e2e.kit.listening import free_port
from e2e.kit.upstream import Upstream

THE_IMAGES = User(10001, 10001, 10001)
OF_OPENSHIFT = User(1000670000, 0, 1000670000)
"""Each namespace has a range of users and of the groups of volumes; the group is root's."""
OF_NO_GROUP = User(1000670000, 1000670000, 2000)
MANAGEMENT, NODES, TRAFFIC, ADMIN = 9090, 9443, 8080, 9901
CONTROLLER = "gateway-gatewright-controller.edge.svc"
LANDLOCK = Path("/sys/kernel/security/lsm")


def check_confinement(container: Container, user: User) -> None:
    """All its processes are the user's, without a capability, by a seccomp filter; the root cannot be written to."""
    assert container.shell("id -u; id -g").split() == [str(user.uid), str(user.gid)]
    script = "cat $(ls -d /proc/[0-9]*/status) 2>/dev/null | grep -E '^(Uid|CapPrm|CapEff|CapBnd|NoNewPrivs|Seccomp):'"
    lines = {tuple(line.split()) for line in container.shell(script).splitlines()}
    none = "0000000000000000"
    assert lines == {
        ("Uid:", *[str(user.uid)] * 4), ("CapPrm:", none), ("CapEff:", none), ("CapBnd:", none),
        ("NoNewPrivs:", "1"), ("Seccomp:", "2"),
    }  # fmt: skip
    for folder in ("/", "/app", "/etc", "/run", "/usr", "/var/tmp", "/dev"):  # noqa: S108
        assert container.shell(f"touch {folder}/x 2>/dev/null || echo refused") == "refused", folder


def check_isolation(container: Container) -> None:
    """Python policies run by Landlock, where this machine's kernel has it."""
    (executor,) = (process for process in container.status()["processes"] if process["name"].startswith("executor"))
    if LANDLOCK.exists() and "landlock" not in LANDLOCK.read_text():
        pytest.skip("this machine's kernel has no Landlock")
    assert executor["isolation"]["level"] == "landlock"


def as_user(user: User) -> tuple[str, ...]:
    """Without a volume that its group owns."""
    return ("--user", f"{user.uid}:{user.gid}", "--passwd=false")


def check_alone(image: str, upstream: Upstream, user: User, *options: str) -> None:
    """A node without a controller serves an API, confined, and stops in order."""
    with run_container(image, options=(*as_user(user), *options)) as container:
        container.deploy(api("alone", upstream.url, SAMPLE))
        assert httpx.get(f"{container.url}/alone/7").headers["X-Python-Policy"]
        check_confinement(container, user)
        check_isolation(container)
        assert container.stop() == 0


def test_a_node_of_its_own_runs_as_any_user_of_group_0(image: str, upstream: Upstream) -> None:
    check_alone(image, upstream, OF_OPENSHIFT)


def test_a_node_of_its_own_runs_as_any_user_whose_volume_it_is(image: str, upstream: Upstream, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(0o777)
    check_alone(image, upstream, OF_NO_GROUP, "--volume", f"{state}:/var/lib/gatewright")


def test_a_state_that_the_user_cannot_write_is_named(image: str) -> None:
    container = Container(image, options=as_user(OF_NO_GROUP))
    try:
        assert container.exit_code() == 1, container.logs()
        expected = "state directory /var/lib/gatewright: Permission denied for user 1000670000, group 1000670000"
        assert expected in container.logs()
    finally:
        podman("rm", "--force", "--volumes", container.id)


@pytest.mark.parametrize(
    ("render", "user"),
    [("minimal", THE_IMAGES), ("openshift", OF_OPENSHIFT), ("openshift", OF_NO_GROUP)],
    ids=["as-the-chart-says", "uid-of-openshift", "other-group"],
)
def test_the_charts_pods_run_as_any_user(
    image: str, upstream: Upstream, tmp_path: Path, render: str, user: User
) -> None:
    by_component = dict(pods(RENDERS / f"{render}.yaml"))
    ports = {port: free_port() for port in (MANAGEMENT, NODES, TRAFFIC, ADMIN)}
    signer = authority(tmp_path)
    with ExitStack() as stack:
        folders = {name: tmp_path / name for name in ("controller", "nodes")}
        for folder in folders.values():
            folder.mkdir()
        places = {name: Place(folder, {}, ports, {CONTROLLER: "localhost"}) for name, folder in folders.items()}
        documents = {file: config(RENDERS / f"{render}.yaml", file) for file in ("gateway.yaml", "settings.yaml")}
        files = _files(signer, {file: places["nodes"].here(text) for file, text in documents.items()})
        controller = run_pod(stack, image, by_component["controller"], user, places["controller"], files)
        management = f"https://localhost:{ports[MANAGEMENT]}"
        wait_for(f"{management}/healthz", seconds=120)
        node = run_pod(stack, image, by_component["nodes"], user, places["nodes"], files)
        wait_for(f"http://127.0.0.1:{ports[ADMIN]}/ready", seconds=120)
        created = httpx.post(
            f"{management}/v1/apis?wait=60", json=api("orders", upstream.url, SAMPLE),
            headers={"authorization": "Bearer management-token"}, timeout=90,
            verify=ssl.create_default_context(cafile=signer.file),
        )  # fmt: skip
        assert (created.status_code, created.json()["status"]["state"]) == (201, "deployed"), node.logs()
        assert httpx.get(f"http://127.0.0.1:{ports[TRAFFIC]}/orders/7").headers["X-Python-Policy"]
        for container in (controller, node):
            check_confinement(container, user)
        check_isolation(node)
        podman("stop", "--time", "90", node.id, seconds=120)
        assert node.exit_code() == 0
        assert controller.stop() == 0


def _files(signer: Authority, configuration: dict[str, str]) -> dict[str, dict[str, str]]:
    """What is in the Secrets and the ConfigMap, by mount path."""
    certificate, key = signer.issue("controller", "127.0.0.1", "localhost")
    trust, token = signer.file.read_text(), "a-token-of-the-nodes\n"
    return {
        "/etc/gatewright/config": configuration,
        "/etc/gatewright/tls": {"tls.crt": certificate.read_text(), "tls.key": key.read_text(), "ca.crt": trust},
        "/etc/gatewright/tokens": {"token": "management-token", "node-token": token},
        "/etc/gatewright/join": {"authority.pem": trust, "token": token},
    }
