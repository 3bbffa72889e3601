"""Against the real controller; no node is connected, so that accepted APIs stay pending."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from gatewright_cli.api_files import ApiFiles
from gatewright_cli.clients.controller_refusals import UNAUTHORIZED_CURE
from gatewright_cli.clients.management import Management
from gatewright_cli.commands.apis.applying import STDIN, Target, apply_files, find_target, load, try_files
from gatewright_cli.commands.options import NamedController
from gatewright_cli.mistakes import ExitStatus, PreflightError
from gatewright_cli.node.files.run_dir import RunDir
from gatewright_cli.node.listeners.ports import free_port

from cli.tests.clients.test_management import API, with_controller, written

if TYPE_CHECKING:
    from cli.tests.conftest import Bench


def nothing() -> bytes:
    raise AssertionError("standard input is read although it is not named")


class Printed:
    """What an apply has printed."""

    def __init__(self) -> None:
        self.out: list[str] = []
        self.err: list[str] = []
        self.status = ExitStatus.DONE

    async def apply(self, management: Management, files: ApiFiles, seconds: float | None = None) -> bool:
        self.out.clear()
        self.err.clear()
        self.status = await apply_files(Target(management), files, seconds, self.out.append, self.err.append)
        return self.status is ExitStatus.DONE


def test_new_apis_are_created_and_the_same_ones_are_unchanged(bench: Bench) -> None:
    first, second = written(bench.folder, "one"), written(bench.folder, "two")

    async def work(management: Management) -> None:
        printed = Printed()
        assert await printed.apply(management, load([first, second], nothing))
        assert printed.out == ["one created", "two created"]
        written(bench.folder, "two", API.replace("GET", "POST"))
        assert await printed.apply(management, load([first, second], nothing))
        assert printed.out == ["one unchanged", "two changed"]
        assert printed.err == []
        assert [api.status.revision for api in (await management.apis()).values()] == [1, 3]

    with_controller(bench, work)


def test_a_dry_run_prints_changes_and_makes_none(bench: Bench) -> None:
    first, second = written(bench.folder, "one"), written(bench.folder, "two")
    wrong = written(bench.folder, "three", API.replace("GET", "G T"))

    async def work(management: Management) -> None:
        out: list[str] = []
        err: list[str] = []
        assert await try_files(Target(management), load([first], nothing), out.append, err.append) is ExitStatus.DONE
        assert out[0] == "one would be created"
        assert out[1].startswith("--- /dev/null\n+++ one\n")
        assert await management.apis() == {}
        await Printed().apply(management, load([first, second], nothing))
        before = await management.apis()
        written(bench.folder, "two", API.replace("GET", "POST"))
        out.clear()
        files = load([first, wrong, second], nothing)
        assert await try_files(Target(management), files, out.append, err.append) is ExitStatus.FAILED
        assert out[:2] == ["one would be unchanged", "two would be changed"]
        assert "-    - method: GET\n+    - method: POST\n" in out[2]
        (mistake,) = err
        assert mistake.startswith(f"{wrong}:")
        assert await management.apis() == before

    with_controller(bench, work)


def test_an_api_that_is_not_deployed_in_time_is_reported_with_its_reason(bench: Bench) -> None:
    path = written(bench.folder, "one")

    async def work(management: Management) -> None:
        printed = Printed()
        assert not await printed.apply(management, load([path], nothing), seconds=0.2)
        assert (printed.out, printed.err) == (["one created, pending: no node is connected"], [])
        assert printed.status is ExitStatus.NOT_DEPLOYED

    with_controller(bench, work)


def test_mistakes_have_their_lines_and_keep_no_other_out(bench: Bench) -> None:
    wrong = API.replace("GET", "get").replace("NAME", "wrong")
    good = API.replace("NAME", "good")
    path = bench.folder / "both.yaml"
    path.write_text(f"---\n{good}---\n{wrong}---\nkind: [\n")

    async def work(management: Management) -> None:
        printed = Printed()
        assert not await printed.apply(management, load([path, STDIN], lambda: b"kind: Api\nmetadata: {name: x}\n"))
        assert printed.out == ["good created"]
        assert [line.partition(", got ")[0] for line in printed.err] == [
            f"{path}:23: expected a YAML document: while parsing a flow node: did not find expected node content"
            "; fix the syntax",
            "stdin:1: spec: expected an object",
            f"{path}:20: spec.operations[0].method: expected 'GET'",
        ]

    with_controller(bench, work)


def test_standard_input_is_a_file_of_yaml(bench: Bench) -> None:
    async def work(management: Management) -> None:
        printed = Printed()
        text = API.replace("NAME", "a") + "---\n" + API.replace("NAME", "b")
        assert await printed.apply(management, load([STDIN], text.encode))
        assert printed.out == ["a created", "b created"]

    with_controller(bench, work)


def alone(bench: Bench, work: Callable[[], Awaitable[None]]) -> None:
    async def live() -> None:
        await work()

    bench.run(live())


def test_no_controller_and_no_token_are_reported(bench: Bench) -> None:
    path = written(bench.folder, "one")

    async def away() -> None:
        printed = Printed()
        assert not await printed.apply(
            Management(f"http://127.0.0.1:{free_port('127.0.0.1')}", ""), load([path], nothing)
        )
        assert printed.err[0].startswith("error: the controller gave no answer")

    alone(bench, away)

    async def work(management: Management) -> None:
        printed = Printed()
        del management._client.headers["authorization"]
        assert not await printed.apply(management, load([path], nothing))
        refusal = "401 expected the header 'Authorization: Bearer TOKEN' with the controller's token"
        assert printed.err == [f"error: {refusal}; {UNAUTHORIZED_CURE}"]
        assert printed.status is ExitStatus.NOT_ALLOWED

    with_controller(bench, work)


def test_all_unreadable_files_are_named_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(PreflightError) as caught:
        load([tmp_path / "none.yaml", tmp_path], nothing)
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
        load([file], nothing)
    assert refused.value.mistakes == [
        f"{file}: expected an Api, got an OpenAPI document; `gatewright import {file}` makes one"
    ]
