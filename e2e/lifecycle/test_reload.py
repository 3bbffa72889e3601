"""Code changes while requests pass: a new generation of executors takes over, and clients notice the change alone."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from e2e.kit.as_deployed import wait_for
from e2e.kit.gateway import Gateway, Json, api, attach, eventually, running
from e2e.kit.listening import free_port
from e2e.kit.policy_project import PolicyProject
from e2e.kit.upstream import Recorded, Reply, Upstream

STAMP = """\
from sdk.policy import UpstreamRequestModifications, UpstreamResponseModifications
from .words import WORD

def on_request(ctx, params):
    return UpstreamRequestModifications(set_headers={"x-request-word": WORD})

def on_response(ctx, params):
    return UpstreamResponseModifications(set_headers={"x-response-word": WORD})
"""


PAUSE_SECONDS = 0.03
HELD_SECONDS = 60
RELOADS = 3  # each starts five interpreters, one after the other; twenty are a row of `make faults`


def words(word: str) -> str:
    return f"WORD = {word!r}\n"


@dataclass
class Load:
    """Clients that request one URL over and over, and each answer: status, request's word, response's word."""

    url: str
    answers: list[tuple[int | str, str, str]] = field(default_factory=list)

    def run(self, ended: threading.Event) -> None:
        split = urlsplit(self.url)
        client = http.client.HTTPConnection(str(split.hostname), split.port, timeout=10)  # httpx costs too much here
        while not ended.wait(PAUSE_SECONDS):
            try:
                client.request("GET", split.path)
                answer = client.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                client.close()
                self.answers.append((repr(error), "", ""))
                continue
            headers = answer.headers
            self.answers.append((answer.status, headers.get("x-seen", ""), headers.get("x-response-word", "")))
        client.close()

    def failures(self) -> list[tuple[int | str, str, str]]:
        return [answer for answer in self.answers if answer[0] != 200]

    def crossed(self) -> list[tuple[int | str, str, str]]:
        """Exchanges whose request and response met different generations."""
        return [answer for answer in self.answers if answer[1] != answer[2]]


@contextmanager
def load(url: str, clients: int = 2) -> Iterator[Load]:
    ended, flow = threading.Event(), Load(url)
    threads = [threading.Thread(target=flow.run, args=(ended,)) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield flow
    finally:
        ended.set()
        for thread in threads:
            thread.join(20)


def show_word(request: Recorded) -> Reply:
    return Reply(200, [("x-seen", request.value("x-request-word") or "")], b"{}")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> PolicyProject:
    policies = PolicyProject(tmp_path_factory.mktemp("project"), "e2e-reload")
    policies.write_policy("stamp", STAMP, words_py=words("first"))
    return policies


@pytest.fixture(scope="module")
def changing_gateway(project: PolicyProject, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running(None, tmp_path_factory.mktemp("state"), *project.arguments, "--executors", "2") as gateway:
        yield gateway


@pytest.fixture
def stamped_url(changing_gateway: Gateway, upstream: Upstream) -> str:
    """The URL of an API with the policy stamp:v1.0.0."""
    upstream.reply = show_word
    changing_gateway.deploy(api("stamped", upstream.url, [{"name": "stamp", "version": "v1.0.0", "params": {}}]))
    return f"{changing_gateway.url}/stamped/x"


@contextmanager
def held_exchange(gateway: Gateway) -> Iterator[Future[httpx.Response]]:
    """An exchange with stamp:v1.0.0 that the upstream answers when the block ends."""
    asked, released = threading.Event(), threading.Event()

    def reply(request: Recorded) -> Reply:
        asked.set()
        released.wait(HELD_SECONDS)
        return show_word(request)

    with Upstream() as slow, ThreadPoolExecutor(1) as client:
        slow.reply = reply
        held = api("held", slow.url, [{"name": "stamp", "version": "v1.0.0", "params": {}}])
        held["spec"]["requestTimeout"] = f"{HELD_SECONDS}s"
        gateway.deploy(held)
        try:
            answer = client.submit(httpx.get, f"{gateway.url}/held/x", timeout=HELD_SECONDS)
            assert asked.wait(30)
            yield answer
        finally:
            released.set()
        answer.result()
        gateway.remove("held")


def word(url: str) -> str:
    answer = httpx.get(url)
    assert answer.status_code == 200, answer.text
    return answer.headers["x-response-word"]


@pytest.mark.slow("three reloads under load, each of two processes")
def test_reloads_under_load_fail_nothing_and_no_exchange_crosses(
    changing_gateway: Gateway, project: PolicyProject, stamped_url: str
) -> None:
    with load(stamped_url) as flow:
        for number in range(RELOADS):
            counted = len(flow.answers)
            eventually("some traffic before", lambda counted=counted: len(flow.answers) > counted + 50, 30)  # type: ignore[misc]
            before = word(stamped_url)
            with held_exchange(changing_gateway) as held:
                project.write_policy("stamp", STAMP, words_py=words(f"word-{number}"))
                result = changing_gateway.reload()
                assert result.returncode == 0, result.stderr
                assert "reloaded generation=" in result.stdout
                assert word(stamped_url) == f"word-{number}"
            headers = held.result().headers
            assert (headers["x-seen"], headers["x-response-word"]) == (before, before), "it ends where it began"
        eventually("enough requests", lambda: len(flow.answers) > 125 * RELOADS, 60)
        eventually("the last version answers", lambda: flow.answers[-1][2] == f"word-{RELOADS - 1}", 60)
    assert flow.failures() == []
    assert flow.crossed() == []
    assert {answer[2] for answer in flow.answers} >= {f"word-{number}" for number in range(RELOADS)}
    eventually(
        "the old processes are gone",
        lambda: len(changing_gateway.status()["processes"]) == len(changing_gateway.executors()) + 3,
    )
    assert len(changing_gateway.executors()) == 2
    eventually("the old generations' files are gone", lambda: len([*project.output.glob("generations/*/[0-9]*")]) == 1)


BROKEN = {
    "syntax error": (STAMP + "\ndef (\n", "policy.py:10"),
    "import error": (STAMP + "\nimport no_such_module\n", "policy.py:10"),
    "raises at import": (STAMP + "\nraise KeyError('at import')\n", "policy.py:10"),
    "prepare raises": (STAMP + "\ndef prepare(params):\n    raise KeyError('in prepare')\n", "policy.py:11"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_change_is_refused_with_its_place(
    changing_gateway: Gateway, project: PolicyProject, stamped_url: str, fault: str
) -> None:
    source, place = BROKEN[fault]
    before = word(stamped_url)
    with load(stamped_url, clients=2) as flow:
        project.write_policy("stamp", source, words_py=words("broken"))
        result = changing_gateway.reload()
        counted = len(flow.answers)
        eventually("traffic goes on", lambda: len(flow.answers) > counted + 20)
    project.write_policy("stamp", STAMP, words_py=words(before))
    assert result.returncode == 1
    assert f"stamp-v1.0.0/{place}" in result.stderr, result.stderr
    assert result.stderr.count("error: ") == 1, result.stderr
    assert flow.failures() == []
    assert {answer[1:] for answer in flow.answers} == {(before, before)}
    errors = changing_gateway.find_records(level="error", component="supervisor")
    assert errors[-1]["message"].startswith("reload refused: ")


def test_a_new_policy_and_a_new_version_can_be_attached_after_a_reload(
    changing_gateway: Gateway, project: PolicyProject, stamped_url: str, upstream: Upstream
) -> None:
    project.write_policy("stamp", STAMP, "v1.1.0", words_py=words("newer version"))
    project.write_policy("fresh", STAMP, words_py=words("fresh"))
    before = word(stamped_url)
    result = changing_gateway.reload()
    assert result.returncode == 0, result.stderr
    assert word(stamped_url) == before  # it stays with the version that it was deployed with
    changing_gateway.deploy(api("newer", upstream.url, [attach("stamp")]))
    changing_gateway.deploy(api("exact", upstream.url, [{"name": "stamp", "version": "v1.0.0", "params": {}}]))
    changing_gateway.deploy(api("fresh", upstream.url, [attach("fresh")]))
    assert [word(f"{changing_gateway.url}/{name}/x") for name in ("newer", "exact", "fresh")] == [
        "newer version",
        before,
        "fresh",
    ]
    project.remove_policy("fresh")
    refused = changing_gateway.reload()
    assert refused.returncode == 1
    assert "API fresh: spec.policies[0].name: expected a policy of this build, got 'fresh'" in refused.stderr
    assert word(f"{changing_gateway.url}/fresh/x") == "fresh"
    project.write_policy("fresh", STAMP, words_py=words("fresh"))
    for name in ("newer", "exact", "fresh"):
        changing_gateway.remove(name)


def test_sighup_reloads_and_a_failed_reload_changes_nothing(
    changing_gateway: Gateway, project: PolicyProject, stamped_url: str
) -> None:
    project.write_policy("stamp", STAMP, words_py=words("by a signal"))
    changing_gateway.process.send_signal(signal.SIGHUP)
    eventually("it is reloaded", lambda: word(stamped_url) == "by a signal", 60)
    refused = len(refusals(changing_gateway))
    project.write_policy("stamp", "import no_such_module\n", words_py=words("broken"))
    changing_gateway.process.send_signal(signal.SIGHUP)
    eventually("it is refused", lambda: len(refusals(changing_gateway)) > refused, 60)
    project.write_policy("stamp", STAMP, words_py=words("by a signal"))
    assert word(stamped_url) == "by a signal"


def refusals(gateway: Gateway) -> list[Json]:
    return [record for record in gateway.records() if record["message"].startswith("reload refused: ")]


def test_an_engine_that_is_killed_comes_back_with_the_present_generation(
    changing_gateway: Gateway, project: PolicyProject, stamped_url: str
) -> None:
    project.write_policy("stamp", STAMP, words_py=words("after the reload"))
    assert changing_gateway.reload().returncode == 0
    killed = changing_gateway.kill("engine")
    eventually("the engine is back", lambda: changing_gateway.pid("engine") not in {None, killed}, 20)
    wait_for(stamped_url, seconds=20)  # in Envoy, no listener takes connections before
    assert word(stamped_url) == "after the reload"
    project.write_policy("stamp", STAMP, words_py=words("and another"))
    assert changing_gateway.reload().returncode == 0
    assert word(stamped_url) == "and another"


COUNTS = """\
import os
from sdk.policy import UpstreamResponseModifications

count = 0

def on_request(ctx, params):
    return None

def on_response(ctx, params):
    global count
    count += 1
    return UpstreamResponseModifications(set_headers={"x-count": str(count), "x-pid": str(os.getpid())})
"""


@pytest.mark.slow("four reloads, and an old generation is kept for half a minute")
def test_a_group_that_has_not_changed_keeps_its_processes_and_their_state(tmp_path: Path, upstream: Upstream) -> None:
    """Files of the generation that it began in stay as long, for a process that crashes is started from them again."""
    upstream.reply = show_word
    project = PolicyProject(tmp_path, "e2e-kept")
    project.write_policy("stamp", STAMP, words_py=words("first"))
    project.write_policy("counts", COUNTS, group="steady")
    with running(None, tmp_path / "state", *project.arguments) as gateway:
        gateway.deploy(api("both", upstream.url, [attach("stamp"), attach("counts")]))
        url, start = f"{gateway.url}/both/x", httpx.get(f"{gateway.url}/both/x").headers
        with load(url) as flow:
            for number in range(2):
                counted = len(flow.answers)
                eventually("some traffic", lambda counted=counted: len(flow.answers) > counted + 50, 30)  # type: ignore[misc]
                project.write_policy("stamp", STAMP, words_py=words(f"word-{number}"))
                result = gateway.reload()
                assert result.returncode == 0, result.stderr
                assert "executors restarted: default; unchanged: steady" in result.stdout, result.stdout
                assert word(url) == f"word-{number}"
            answer_count = len(flow.answers)
        assert flow.failures() == []
        assert flow.crossed() == []
        after = httpx.get(url).headers
        assert after["x-pid"] == start["x-pid"]
        assert int(after["x-count"]) > answer_count
        eventually("one generation between goes", lambda: generations(project) == {"1", "3"})
        gateway.kill("executor-steady-0")
        eventually("it is back", lambda: httpx.get(url).headers.get("x-pid", start["x-pid"]) != start["x-pid"], 20)
        project.write_policy("counts", COUNTS + "# changed\n", group="steady")
        changed = gateway.reload()
        assert "executors restarted: steady; unchanged: default" in changed.stdout, changed.stdout
        eventually("the first generation goes", lambda: generations(project) == {"3", "4"})
        assert "nothing to reload" in gateway.reload().stdout


def generations(project: PolicyProject) -> set[str]:
    return {path.name for path in project.output.glob("generations/*/[0-9]*")}


LOOPING = f"looping{os.getpid()}"
"""The process name of such an import, which cannot write to a file for the test."""
LOOPS = STAMP + f"\nimport ctypes\nctypes.CDLL(None).prctl(15, b'{LOOPING}')\nwhile True:\n    pass\n"  # PR_SET_NAME


def test_a_newer_save_replaces_an_import_that_does_not_end(tmp_path: Path, upstream: Upstream) -> None:
    upstream.reply = show_word
    project = PolicyProject(tmp_path, "e2e-watch-loop")
    project.write_policy("stamp", STAMP, words_py=words("first"))
    gateway = Gateway(None, tmp_path / "state", *project.arguments, "--watch").wait_ready()
    try:
        gateway.deploy(api("stamped", upstream.url, [attach("stamp")]))
        url = f"{gateway.url}/stamped/x"
        project.write_policy("stamp", LOOPS, words_py=words("loop"))
        eventually("the import has begun", importing, 30)
        (first,) = importing()
        eventually(
            "the import is reported", lambda: gateway.find_records(component="supervisor", message=IMPORTING), 30
        )
        project.write_policy("stamp", STAMP, words_py=words("fixed"))
        eventually("the fixed policy", lambda: word(url) == "fixed", 20)
        assert is_gone(first)
        assert not [record for record in gateway.find_records(level="error") if "reload" in record["message"]]
        project.write_policy("stamp", LOOPS, words_py=words("loop again"))
        eventually("another import has begun", importing, 30)
        (second,) = importing()
    finally:
        gateway.stop()
    eventually("it ends with the run", lambda: is_gone(second))


IMPORTING = "the reload waits for the build: importing stamp:v1.0.0"


def test_an_import_check_ends_with_a_run_that_is_killed(tmp_path: Path) -> None:
    project = PolicyProject(tmp_path, "e2e-watch-killed")
    project.write_policy("stamp", STAMP, words_py=words("first"))
    gateway = Gateway(None, tmp_path / "state", *project.arguments, "--watch").wait_ready()
    try:
        project.write_policy("stamp", LOOPS, words_py=words("loop"))
        eventually("the import has begun", importing, 30)
        (looping,) = importing()
        gateway.process.kill()
        eventually("it has ended too", lambda: is_gone(looping))
    finally:
        gateway.stop()


def importing() -> list[int]:
    """The processes in which the looping policy is imported."""
    imports = []
    for name in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):  # it has ended
            if name.read_text().strip() == LOOPING:
                imports.append(int(name.parent.name))
    return [pid for pid in imports if not is_gone(pid)]


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_saved_file_is_live_in_seconds(tmp_path: Path, upstream: Upstream) -> None:
    """From the moment of ready on, at which the first one is saved."""
    upstream.reply = show_word
    project = PolicyProject(tmp_path, "e2e-watch")
    project.write_policy("stamp", STAMP, words_py=words("first"))
    with running(None, tmp_path / "state", *project.arguments, "--watch") as gateway:
        project.write_policy("stamp", STAMP, words_py=words("second"))
        gateway.deploy(api("stamped", upstream.url, [attach("stamp")]))
        url = f"{gateway.url}/stamped/x"
        eventually("the word that was saved at the moment of ready", lambda: word(url) == "second", 30)
        eventually("the line of the reload", lambda: gateway.find_records(message="reloaded"))
        (line,) = gateway.find_records(message="reloaded")
        assert line["took"].endswith("s")
        project.write_policy("stamp", "def (", words_py=words("second"))
        eventually("the refusal", lambda: [r for r in gateway.records() if "policy.py:1" in r["message"]], 30)
        assert word(url) == "second"
        project.write_policy("added", STAMP, words_py=words("added"))
        project.write_policy("stamp", STAMP, words_py=words("third"))
        eventually("the third word", lambda: word(url) == "third", 30)
        eventually(
            "the controller knows",
            lambda: gateway.find_records(message="definitions read again", added=["added:v1.0.0"]),
        )
        gateway.deploy(api("added", upstream.url, [attach("added")]))
        project.write_policy("added", STAMP, words_py=words("watched too"))
        eventually("a new folder is watched", lambda: word(f"{gateway.url}/added/x") == "watched too", 30)
        other = free_port()
        listeners = [{"name": "http", "port": gateway.port}, {"name": "other", "port": other}]
        document = {"apiVersion": "gatewright.dev/v1", "kind": "Gateway", "spec": {"listeners": listeners}}
        (tmp_path / "gateway.yaml").write_text(json.dumps(document))
        eventually("a new gateway.yaml", lambda: gateway.find_records(message="reloaded", listeners="changed"))
        assert word(f"http://127.0.0.1:{other}/stamped/x") == "third"
        (tmp_path / "gateway.yaml").write_text("")
        eventually("an empty one is refused", lambda: [r for r in gateway.records() if "got null" in r["message"]])
        assert word(f"http://127.0.0.1:{other}/stamped/x") == "third"
