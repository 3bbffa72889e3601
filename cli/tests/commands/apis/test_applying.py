"""Against the real controller; no node is connected, so that accepted APIs stay pending."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from gatewright_cli.api_files import ApiFile
from gatewright_cli.clients.controller_refusals import UNAUTHORIZED_CURE
from gatewright_cli.clients.management import Management
from gatewright_cli.clients.plans import Plan
from gatewright_cli.commands.apis.applying import STDIN, Target, find_target, load_unread
from gatewright_cli.commands.apis.plan_file import PlanFile, read_plan, write_plan
from gatewright_cli.commands.apis.planning import Ownership, apply_set, plan_set, try_set
from gatewright_cli.commands.options import NamedController
from gatewright_cli.mistakes import ExitStatus, PreflightError
from gatewright_cli.node.files.run_dir import RunDir
from gatewright_cli.node.listeners.ports import free_port

from cli.tests.clients.test_management import API, with_controller, written

if TYPE_CHECKING:
    from cli.tests.conftest import Bench


def nothing() -> bytes:
    raise AssertionError("standard input is read although it is not named")


OWNER = Ownership("team-a", prune=True)


class Printed:
    """What commands have printed."""

    def __init__(self, management: Management) -> None:
        self.target = Target(management)
        self.out: list[str] = []
        self.err: list[str] = []

    async def apply(
        self,
        documents: list[ApiFile],
        seconds: float | None = None,
        ownership: Ownership = Ownership(),  # noqa: B008
    ) -> ExitStatus:
        self.out.clear()
        self.err.clear()
        resources = ownership.resources(self.target, documents)
        return await apply_set(self.target, resources, seconds, self.out.append, self.err.append)

    async def attempt(self, documents: list[ApiFile]) -> ExitStatus:
        self.out.clear()
        self.err.clear()
        return await try_set(
            self.target, Ownership().resources(self.target, documents), self.out.append, self.err.append
        )

    async def plan(self, documents: list[ApiFile], ownership: Ownership, *, diff: bool = False) -> Plan | ExitStatus:
        self.out.clear()
        self.err.clear()
        resources = ownership.resources(self.target, documents)
        return await plan_set(self.target, resources, self.out.append, self.err.append, diff=diff)


def test_new_apis_are_created_and_the_same_ones_are_unchanged(bench: Bench) -> None:
    first, second = written(bench.folder, "one"), written(bench.folder, "two")

    async def work(management: Management) -> None:
        printed = Printed(management)
        assert await printed.apply(load_unread([first, second], nothing)) is ExitStatus.DONE
        assert printed.out == ["one created", "two created"]
        written(bench.folder, "two", API.replace("GET", "POST"))
        assert await printed.apply(load_unread([first, second], nothing)) is ExitStatus.DONE
        assert printed.out == ["one unchanged", "two changed"]
        assert printed.err == []
        assert [api.status.revision for api in (await management.apis()).values()] == [1, 2]

    with_controller(bench, work)


def test_a_dry_run_prints_changes_and_makes_none(bench: Bench) -> None:
    first, second = written(bench.folder, "one"), written(bench.folder, "two")

    async def work(management: Management) -> None:
        printed = Printed(management)
        assert await printed.attempt(load_unread([first], nothing)) is ExitStatus.DONE
        assert printed.out[0] == "one would be created"
        assert printed.out[1].startswith("--- /dev/null\n+++ one\n")
        assert await management.apis() == {}
        await printed.apply(load_unread([first, second], nothing))
        before = await management.apis()
        written(bench.folder, "two", API.replace("GET", "POST"))
        assert await printed.attempt(load_unread([first, second], nothing)) is ExitStatus.DONE
        assert printed.out[:2] == ["one would be unchanged", "two would be changed"]
        assert "-    - method: GET\n+    - method: POST\n" in printed.out[2]
        wrong = written(bench.folder, "three", API.replace("GET", "G T"))
        assert await printed.attempt(load_unread([first, wrong], nothing)) is ExitStatus.FAILED
        (mistake,) = printed.err
        assert (printed.out, mistake.startswith(f"{wrong}:")) == ([], True)
        assert await management.apis() == before

    with_controller(bench, work)


def test_a_plan_says_each_change_and_what_it_means(bench: Bench) -> None:
    first, second = written(bench.folder, "one"), written(bench.folder, "two")

    async def work(management: Management) -> None:
        printed = Printed(management)
        assert isinstance(await printed.plan(load_unread([first, second], nothing), OWNER), Plan)
        assert printed.out == [
            "add one",
            "  requests below /one/v1.0 on * are served by one, got 404",
            "  GET /one/v1.0/ on * goes to http://127.0.0.1:9",
            "add two",
            "  requests below /two/v1.0 on * are served by two, got 404",
            "  GET /two/v1.0/ on * goes to http://127.0.0.1:9",
            "2 to add, 0 unchanged",
        ]
        assert await printed.apply(load_unread([first, second], nothing), ownership=OWNER) is ExitStatus.DONE
        renamed = written(bench.folder, "uno", API.replace("/NAME", "/one"))
        assert isinstance(await printed.plan(load_unread([renamed], nothing), OWNER, diff=True), Plan)
        assert printed.out[0] == "rename one → uno (revision 1)"
        assert "-  name: one\n+  name: uno\n" in printed.out[3]
        assert [line for line in printed.out if line.startswith("delete")] == ["delete two (revision 1)"]
        assert printed.out[-1] == "1 to rename, 1 to delete, 0 unchanged"
        assert await printed.apply(load_unread([renamed], nothing), ownership=OWNER) is ExitStatus.DONE
        assert printed.out == ["two deleted", "uno renamed from one"]
        await printed.plan(load_unread([renamed], nothing), OWNER)
        assert printed.out == ["nothing to do, 1 unchanged"]

    with_controller(bench, work)


def test_a_kept_plan_is_applied_exactly_or_refused(bench: Bench) -> None:
    path, kept = written(bench.folder, "one"), bench.folder / "plan.json"

    async def work(management: Management) -> None:
        printed = Printed(management)
        documents = load_unread([path], nothing)
        made = await printed.plan(documents, Ownership())
        assert isinstance(made, Plan)
        resources = Ownership().resources(printed.target, documents)
        write_plan(kept, resources, made)
        assert kept.stat().st_mode & 0o777 == 0o600
        assert read_plan(kept) == PlanFile("gatewright.dev/plan/v1", resources, made)
        written(bench.folder, "one", API.replace("GET", "POST"))
        await printed.apply(load_unread([path], nothing))
        printed.out.clear()
        resources, plan = read_plan(kept).resources, read_plan(kept).plan
        status = await apply_set(printed.target, resources, None, printed.out.append, printed.err.append, reviewed=plan)
        assert (status, printed.out) == (ExitStatus.CONFLICT, [])
        assert printed.err == [
            "error: the plan is no longer what would be done: the API one was written since; "
            "nothing was changed: look at it anew, and apply that",
            "  it was: add one",
            "  it is now: change one (revision 1)",
        ]

    with_controller(bench, work)


def test_another_owners_api_is_refused_unless_it_is_taken_over(bench: Bench) -> None:
    path = written(bench.folder, "one")

    async def work(management: Management) -> None:
        printed = Printed(management)
        assert await printed.apply(load_unread([path], nothing), ownership=OWNER) is ExitStatus.DONE
        assert await printed.apply(load_unread([path], nothing), ownership=Ownership("team-b")) is ExitStatus.CONFLICT
        assert printed.err[0].startswith(
            "error: Api one is team-a's, and this is applied for team-b; nothing was changed"
        )
        taken = await printed.apply(load_unread([path], nothing), ownership=Ownership("team-b", take_over=True))
        assert (taken, printed.out) == (ExitStatus.DONE, ["one changed"])

    with_controller(bench, work)


def test_an_api_that_is_not_deployed_in_time_is_reported_with_its_reason(bench: Bench) -> None:
    path = written(bench.folder, "one")

    async def work(management: Management) -> None:
        printed = Printed(management)
        assert await printed.apply(load_unread([path], nothing), seconds=0.2) is ExitStatus.NOT_DEPLOYED
        assert (printed.out, printed.err) == (["one created, pending: no node is connected"], [])

    with_controller(bench, work)


def test_mistakes_have_their_lines_and_keep_all_out(bench: Bench) -> None:
    wrong = API.replace("GET", "get").replace("NAME", "wrong")
    good = API.replace("NAME", "good")
    path = bench.folder / "both.yaml"
    path.write_text(f"---\n{good}---\n{wrong}---\nkind: [\n")

    async def work(management: Management) -> None:
        printed = Printed(management)
        stdin = b"kind: Api\nmetadata: {name: x}\n"
        assert await printed.apply(load_unread([path, STDIN], lambda: stdin)) is ExitStatus.FAILED
        assert printed.out == []
        assert await management.apis() == {}
        found = [line.partition(", got ")[0] for line in printed.err]
        assert f"{path}:20: spec.operations[0].method: expected 'GET'" in found
        assert any(line.startswith(f"{path}:23: expected a YAML document: ") for line in found)
        assert any(line.startswith("stdin") for line in found)

    with_controller(bench, work)


def test_the_documents_of_a_file_are_together_as_long_as_the_file(bench: Bench) -> None:
    path = bench.folder / "many.yaml"
    path.write_text("---\n".join(API.replace("NAME", f"a{number}") for number in range(100)))

    async def work(management: Management) -> None:
        files = load_unread([path], nothing)
        sources = Ownership().resources(Printed(management).target, files).sources
        assert sum(len(source.text) for source in sources) == path.stat().st_size
        assert [source.line for source in sources][:2] == [1, API.count("\n") + 1]

    with_controller(bench, work)


def test_standard_input_is_a_file_of_yaml(bench: Bench) -> None:
    async def work(management: Management) -> None:
        printed = Printed(management)
        text = API.replace("NAME", "a") + "---\n" + API.replace("NAME", "b")
        assert await printed.apply(load_unread([STDIN], text.encode)) is ExitStatus.DONE
        assert printed.out == ["a created", "b created"]

    with_controller(bench, work)


def test_bytes_that_are_no_text_are_named_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"kind: Api\n\xff\n")
    with pytest.raises(PreflightError) as caught:
        load_unread([tmp_path], nothing)
    assert caught.value.mistakes == [f"{tmp_path}/a.yaml:2: expected UTF-8, got the byte 0xFF; save it as UTF-8"]


def test_a_file_that_is_no_plan_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(PreflightError, match=r"plan\.json: expected a file of `gatewright plan -o`"):
        read_plan(tmp_path / "plan.json")


def alone(bench: Bench, work: Callable[[], Awaitable[None]]) -> None:
    async def live() -> None:
        await work()

    bench.run(live())


def test_no_controller_and_no_token_are_reported(bench: Bench) -> None:
    path = written(bench.folder, "one")

    async def away() -> None:
        printed = Printed(Management(f"http://127.0.0.1:{free_port('127.0.0.1')}", ""))
        assert await printed.apply(load_unread([path], nothing)) is ExitStatus.UNREACHABLE
        assert printed.err[0].startswith("error: the controller gave no answer")

    alone(bench, away)

    async def work(management: Management) -> None:
        printed = Printed(management)
        del management._client.headers["authorization"]
        assert await printed.apply(load_unread([path], nothing)) is ExitStatus.NOT_ALLOWED
        header = "expected the header 'Authorization: Bearer TOKEN' with a token that is known here and has not expired"
        assert printed.err == [f"error: 401 {header}; {UNAUTHORIZED_CURE}"]

    with_controller(bench, work)


def test_all_unreadable_files_are_named_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(PreflightError) as caught:
        load_unread([tmp_path / "none.yaml", tmp_path], nothing)
    assert caught.value.mistakes == [
        f"{tmp_path}/none.yaml: No such file or directory",
        f"{tmp_path}: expected at least one .yaml or .json file, got none",
    ]


def test_which_controller_the_options_name(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(PreflightError, match=r"expected a run with .*, got none.*or another machine's"):
        find_target(None, None)
    with pytest.raises(PreflightError, match="expected --run-dir or --controller, got both"):
        find_target(tmp_path, NamedController("http://127.0.0.1:1"))
    with pytest.raises(PreflightError, match=r"--controller: expected a URL such as https://.*, got '127"):
        find_target(None, NamedController("127.0.0.1:1"))
    run_dir = RunDir.open(bench.folder / "run")
    run_dir.write_status({"controller": None, "echo": None})
    with pytest.raises(PreflightError, match="has no controller: name another's with --controller, and no --run-dir"):
        find_target(run_dir.path, None)
    run_dir.write_status({"controller": "http://127.0.0.1:1", "echo": "http://127.0.0.1:7"})
    with pytest.raises(PreflightError, match="management-token: expected a file with the management API's token"):
        find_target(run_dir.path, None)
    run_dir.write("management-token", "s3cret\n")
    found = find_target(run_dir.path, None)
    assert found.place == f"http://127.0.0.1:1, the run in {run_dir.path}"
    made = {"manifest": "/a/build.yaml", "folder": "/a", "stateDir": "/a/.gatewright", "build": "/a/build/stock"}
    run_dir.write_status({"controller": "http://127.0.0.1:1", "echo": "http://127.0.0.1:7", **made})
    place = f"http://127.0.0.1:1, the run of manifest /a/build.yaml (--run-dir {run_dir.path})"
    assert find_target(run_dir.path, None).place == place
    assert (found.management._client.headers, found.echo_port) == ({"authorization": "Bearer s3cret"}, 7)
    (tmp_path / "token").write_text("other\n")
    monkeypatch.setenv("GATEWRIGHT_CONTROLLER_TOKEN_FILE", str(tmp_path / "token"))
    gateway = NamedController("https://gateway:9090")
    assert find_target(None, gateway).management._client.headers == {"authorization": "Bearer other"}
    monkeypatch.setenv("GATEWRIGHT_RUN_DIR", str(run_dir.path))
    assert find_target(None, gateway).place == "https://gateway:9090"
    assert find_target(None, None).place == place
    run_dir.remove()


@pytest.mark.parametrize("text", ["openapi: 3.1.0\ninfo: {title: a}\n", '{"swagger": "2.0"}'])
def test_an_openapi_document_is_refused_with_the_command_that_imports_it(bench: Bench, text: str) -> None:
    file = bench.folder / "orders.yaml"
    file.write_text(text)
    with pytest.raises(PreflightError) as refused:
        load_unread([file], nothing)
    assert refused.value.mistakes == [
        f"{file}: expected an Api, got an OpenAPI document; `gatewright import {file}` makes one"
    ]
