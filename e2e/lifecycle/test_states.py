"""A node in an empty folder starts while controller and database are away: from a file, a bucket, another node."""

from __future__ import annotations

import json
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from e2e.kit.bucket import Bucket
from e2e.kit.certificates import Authority, authority
from e2e.kit.gateway import Gateway, Json, api, attach, credentials, eventually, running
from e2e.kit.listening import free_port
from e2e.kit.upstream import Upstream

pytestmark = pytest.mark.timeout(180)


@dataclass
class Fleet:
    """A first node, whose controller signs states, and what others need to join it and to start without it."""

    build: Path
    folder: Path
    upstream: str
    signer: Authority
    port: int = field(default_factory=free_port)

    @property
    def key(self) -> Path:
        return self.folder / "key.pem"

    @contextmanager
    def controller(self, mark: str, export: str) -> Iterator[Gateway]:
        """The first node, with an API whose Python policy marks answers."""
        certificate, key = self.signer.issue("controller", "127.0.0.1")
        file = self.folder / "shared.json"
        file.write_text(json.dumps(self.document(mark)))
        tls = "--controller-tls-certificate", str(certificate), "--controller-tls-key", str(key)
        nodes = "--nodes-listen", f"127.0.0.1:{self.port}", "--nodes-authority", str(self.signer.file)
        states = "--state-key", str(self.key), "--state-export", export, "--apis", str(file), "--node-id", "first"
        with running(self.build, self.folder / "first", *tls, *nodes, *states) as gateway:
            yield gateway

    def change(self, first: Gateway, mark: str) -> None:
        """The API marks answers so from now on."""
        url = f"https://{first.process_status('controller')['listen']}/v1/apis/shared"
        changed, trust = self.document(mark), ssl.create_default_context(cafile=self.signer.file)
        answer = httpx.put(url, json=changed, verify=trust, headers=credentials(first.run_dir))
        assert answer.is_success, answer.text

    def document(self, mark: str) -> Json:
        return api("shared", self.upstream, [attach("mark", {"name": mark})])

    @contextmanager
    def node(self, name: str, *places: str, options: tuple[str, ...] = ()) -> Iterator[Gateway]:
        """A node that joins that controller."""
        certificate, key = self.signer.issue(name, name)
        join = ["--join", f"127.0.0.1:{self.port}", "--join-authority", str(self.signer.file)]
        join += ["--join-certificate", str(certificate), "--join-key", str(key), "--node-id", name]
        sources = [word for place in places for word in ("--state-from", place)]
        sources += ["--state-authority", f"{self.key}.pub"]
        with running(self.build, self.folder / name, *join, *sources, *options) as gateway:
            yield gateway


@pytest.fixture
def fleet(build: Path, tmp_path: Path, upstream: Upstream) -> Fleet:
    fleet = Fleet(build, tmp_path, upstream.url, authority(tmp_path))
    command("state", "key", "-o", str(fleet.key))
    return fleet


@pytest.fixture(scope="module")
def exported(build: Path, tmp_path_factory: pytest.TempPathFactory, recording_upstream: Upstream) -> Fleet:
    """One whose controller has gone; the state that it exported is in the folder's `state`."""
    folder = tmp_path_factory.mktemp("exported")
    fleet = Fleet(build, folder, recording_upstream.url, authority(folder))
    command("state", "key", "-o", str(fleet.key))
    with fleet.controller("one", str(folder / "state")):
        eventually("the state is exported", (folder / "state").exists)
    return fleet


def command(*words: str, status: int = 0) -> str:
    """What `gatewright` prints, with this exit status."""
    result = gatewright(*words)
    assert result.returncode == status, result.stderr
    return result.stdout + result.stderr


def gatewright(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["gatewright", *words], capture_output=True, text=True, timeout=60, check=False)


def marks(gateway: Gateway) -> list[str]:
    """What the Python policies of the API have left on an answer."""
    answer = httpx.get(f"{gateway.url}/shared/x")
    return [answer.headers.get("x-order", str(answer.status_code))]


def notes(gateway: Gateway) -> list[str]:
    """The titles of the node's notes."""
    status = gatewright("status", "--json", "--run-dir", str(gateway.run_dir))
    return [f"{note['title']}: {note['reason']}" for note in json.loads(status.stdout)["notes"]]


def test_a_node_starts_from_a_file_and_follows_the_controller_when_it_is_back(fleet: Fleet) -> None:
    file = fleet.folder / "exported" / "state"
    with fleet.controller("one", str(file)) as first:
        assert marks(first) == ["one()"]
        eventually("the state is exported", file.exists)
        by_hand = fleet.folder / "by-hand"
        summary = command("state", "export", "-o", str(by_hand), "--label", "zone=eu", "--run-dir", str(first.run_dir))
        assert summary.startswith(f"{by_hand}: revision 1 of https://127.0.0.1:")
    shown = command("state", "show", str(file), "--authority", f"{fleet.key}.pub")
    assert "revision    1\n" in shown
    assert "APIs        1\n  shared  v1.0  /shared\n" in shown
    assert "checked\n" in shown
    assert "for nodes   with any labels\n" in shown
    assert "for nodes   with zone=eu\n" in command("state", "show", str(by_hand))
    damaged = fleet.folder / "damaged"
    damaged.write_bytes(file.read_bytes()[:-1])
    assert "it is cut short; fetch it again" in command("state", "show", str(damaged), status=1)
    with fleet.node("second", str(damaged), str(file)) as second:
        assert marks(second) == ["one()"], "as soon as it is ready"
        (note,) = notes(second)
        assert note.startswith("the node serves a state that was made ")
        assert f"it started from {file}, revision 1, by the controller " in note
        with fleet.controller("two", str(file)):
            eventually("the node follows the controller", lambda: marks(second) == ["two()"])
            eventually("it says so", lambda: notes(second) == [])
    with fleet.node("second", str(by_hand)) as again:
        assert marks(again) == ["two()"], "its own state is never replaced by an older one"
    with fleet.node("third", str(by_hand), options=("--node-label", "zone=us")) as third:
        (note,) = notes(third)
        assert "got one for nodes with zone=eu, which lacks what nodes with zone=us run: export it with these" in note


def test_a_node_starts_from_a_bucket(fleet: Fleet) -> None:
    with Bucket() as bucket:
        url = f"http://{bucket.address}/states/now?signature=hidden"
        with fleet.controller("one", url) as first:
            eventually("the state is exported", lambda: bucket.objects)
            bucket.status = 403
            fleet.change(first, "two")
            refused = f"the state is not exported (http://{bucket.address}/states/now answered 403 to a PUT: "
            status = "status", "--run-dir", str(first.run_dir)
            eventually("the status says so", lambda: refused in gatewright(*status).stdout)
            assert gatewright(*status).returncode == 3
            assert "hidden" not in "".join(map(str, first.records()))
        with fleet.node("second", f"http://{bucket.address}/none", url) as second:
            assert marks(second) == ["one()"]
            assert f"it started from http://{bucket.address}/states/now, " in notes(second)[0]
            assert "hidden" not in "".join(map(str, second.records()))


def test_a_node_starts_from_another_node(fleet: Fleet, tmp_path: Path) -> None:
    (token := tmp_path / "token").write_text("shared by the nodes")
    certificate, key = fleet.signer.issue("state-listen", "127.0.0.1")
    port = free_port()
    shared = "--state-token-file", str(token), "--state-tls-authority", str(fleet.signer.file)
    listen = "--state-listen", f"127.0.0.1:{port}", "--state-listen-certificate", str(certificate)
    url = f"https://127.0.0.1:{port}/v1/state"
    trust = ssl.create_default_context(cafile=fleet.signer.file)
    with fleet.node("sibling", options=(*shared, *listen, "--state-listen-key", str(key))) as sibling:
        with fleet.controller("one", str(tmp_path / "state")):
            eventually("the sibling follows", lambda: marks(sibling) == ["one()"])
            bearer = {"authorization": f"Bearer {token.read_text()}"}
            eventually("it has the state", lambda: httpx.get(url, verify=trust, headers=bearer).status_code == 200)
        assert httpx.get(url, verify=trust).status_code == 401
        with fleet.node("second", url, options=shared) as second:
            assert marks(second) == ["one()"]
            assert f"it started from {url}, revision 1" in notes(second)[0]
            with fleet.controller("two", str(tmp_path / "state")):
                follow = "the nodes follow the controller"
                eventually(follow, lambda: [marks(node) for node in (sibling, second)] == [["two()"], ["two()"]])


def test_a_node_that_finds_no_state_says_why_and_tries_again(exported: Fleet) -> None:
    file, late = exported.folder / "state", exported.folder / "late"
    late.write_bytes(file.read_bytes().replace(b'"revision":1', b'"revision":2'))
    with exported.node("second", str(late)) as second:
        assert marks(second) == ["404"]
        (note,) = notes(second)
        assert note.startswith(f"the node has no state to start from: {late}: expected a signature of the key ")
        late.write_bytes(file.read_bytes())
        eventually("it serves", lambda: marks(second) == ["one()"])


def test_a_node_with_a_controller_of_its_own_starts_while_the_database_is_away(exported: Fleet) -> None:
    away = exported.folder / "database-url"
    away.write_text(f"postgresql://gatewright@127.0.0.1:{free_port()}/gatewright")
    states = "--state-from", str(exported.folder / "state"), "--state-authority", f"{exported.key}.pub"
    environment = "env", f"GATEWRIGHT_CONTROLLER_DATABASE_FILE={away}"
    with running(exported.build, exported.folder / "alone", *states, within=environment) as gateway:
        assert marks(gateway) == ["one()"]
