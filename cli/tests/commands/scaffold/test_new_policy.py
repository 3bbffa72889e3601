"""`gatewright new policy`: its policies are valid as they are, and it never overwrites files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from gatewright_builder.manifest import read_manifest
from gatewright_builder.sources import Sources
from gatewright_cli.commands.scaffold import new_policy
from gatewright_cli.main import cli
from gatewright_cli.mistakes import PreflightError

FORMS = {"plain": (), "async": ("--async",), "stream": ("--stream",), "go": ("--go",)}
NAMES = {"plain": "limit-by-tenant-and-plan", "async": "plan-of", "stream": "class", "go": "go"}
FOLDERS = {"plain": "limit_by_tenant_and_plan", "async": "plan_of", "stream": "class_", "go": "go"}
PYTHON = {"README.md", "policy-definition.yaml", "policy.py", "requirements.txt", "test_policy.py"}
GO = {"README.md", "go.mod", "policy-definition.yaml", "policy.go", "policy_test.go"}


def new(*arguments: str) -> Any:
    return CliRunner().invoke(cli, ["new", "policy", *arguments])


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `gatewright init` writes, and a policy of each form."""
    folder = tmp_path_factory.mktemp("project")
    assert CliRunner().invoke(cli, ["init", str(folder)]).exit_code == 0
    for form, options in FORMS.items():
        done = new(NAMES[form], *options, "--manifest", str(folder / "build.yaml"))
        assert done.exit_code == 0, done.output
    return folder


def run(project: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def module(project: Path, *command: str) -> str:
    """-B: Python leaves nothing in the folders, which other tests list."""
    return run(project, sys.executable, "-B", "-m", *command)


@pytest.mark.parametrize("form", [form for form in FORMS if form != "go"])
def test_its_page_shows_the_entry_that_adds_packages(project: Path, form: str, tmp_path: Path) -> None:
    page = (project / "policies" / FOLDERS[form] / "README.md").read_text()
    (shown,) = re.findall(r"`(\{.*requirements: .*\})`", page)
    (tmp_path / "build.yaml").write_text(f"version: v1\npolicies:\n  - {shown}\n")
    (entry,) = read_manifest(tmp_path / "build.yaml").entries
    assert (entry.name, entry.requirements) == (NAMES[form], ("acme-model==1.2",))


@pytest.mark.parametrize("form", FORMS)
def test_a_folder_with_all_of_it_is_written(project: Path, form: str) -> None:
    folder = project / "policies" / FOLDERS[form]
    assert {path.name for path in folder.iterdir()} == (GO if form == "go" else PYTHON)
    texts = "".join(path.read_text() for path in folder.iterdir())
    assert [word for word in new_policy.OWN.values() if word in texts] == []
    schema = (folder / "policy-definition.yaml").read_text().splitlines()[0].partition("$schema=")[2]
    assert (folder / schema).is_file()


def test_the_manifest_keeps_its_lines_and_names_them_all(project: Path) -> None:
    known = read_manifest(project / "build.yaml")
    assert known.mistakes == ()
    own = {entry.name: entry.source for entry in known.entries[2:]}
    assert own == {NAMES[form]: f"policies/{FOLDERS[form]}" for form in FORMS}
    made = CliRunner().invoke(cli, ["init", str(project / "plain")])
    assert made.exit_code == 0
    assert (project / "build.yaml").read_text().startswith((project / "plain" / "build.yaml").read_text())


def test_their_tests_pass(project: Path) -> None:
    done = module(project, "pytest", "-q", "-p", "no:cacheprovider", *(f"policies/{name}" for name in FOLDERS.values()))
    assert "15 passed" in done


def test_their_types_are_right(project: Path) -> None:
    assert "no issues found in 8 source files" in module(project, "mypy", "--strict", "policies")


def test_ruff_finds_nothing_by_its_own_defaults_and_more(project: Path) -> None:
    python = [f"policies/{folder}" for form, folder in FOLDERS.items() if form != "go"]
    module(project, "ruff", "check", "--isolated", "--extend-select", "B,I,PT,RUF,SIM,UP", *python)
    module(project, "ruff", "format", "--isolated", "--check", *python)


def test_the_go_test_passes_and_nothing_is_found(project: Path) -> None:
    folder = project / "policies" / "go"
    assert "\nok " in "\n" + run(folder, "go", "test", ".")
    run(folder, "go", "vet", ".")
    assert run(folder, "gofmt", "-l", ".") == ""
    assert "package gopolicy\n" in (folder / "policy.go").read_text()


# ---------------------------------------------------------------- what it says


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a build.yaml, which is the current one."""
    (tmp_path / "build.yaml").write_text("version: v1\npolicies:\n  - {name: log-message} # ships\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("form", "tests"),
    [
        ("plain", ["pytest policies/limit"]),
        ("async", ["pip install -r policies/limit/requirements.txt", "pytest policies/limit"]),
        ("stream", ["pytest policies/limit"]),
        ("go", ["go -C policies/limit test ."]),
    ],
)
def test_it_prints_the_new_files_and_the_next_steps(empty: Path, form: str, tests: list[str]) -> None:
    lines = new("limit", *FORMS[form]).stdout.splitlines()
    written, following = lines[: lines.index("")], [line.strip() for line in lines[lines.index("Next:") + 1 :]]
    assert written[-1] == "build.yaml"
    assert all((empty / path).is_file() for path in written)
    assert following[: len(tests)] == tests
    assert following[-2].startswith("gatewright run " if form == "go" else "gatewright reload ")
    assert following[-1].startswith("gatewright apply -f apis ")
    assert "{name: limit, version: v1" in following[-1]
    assert (
        (empty / "build.yaml")
        .read_text()
        .endswith("  - {name: log-message} # ships\n  - {name: limit, filePath: policies/limit}\n")
    )


def test_no_add_leaves_the_manifest_alone_and_needs_none(empty: Path) -> None:
    before = (empty / "build.yaml").read_text()
    assert new("limit", "--no-add").exit_code == 0
    assert (empty / "build.yaml").read_text() == before
    (empty / "build.yaml").unlink()
    assert new("more", "--no-add").exit_code == 0
    assert (empty / "policies" / "more" / "policy.py").is_file()


def refused(*arguments: str) -> str:
    """The message of a refusal, which writes nothing."""
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    done = new(*arguments)
    assert isinstance(done.exception, PreflightError), done.output
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before
    (mistake,) = done.exception.mistakes
    return mistake


@pytest.mark.parametrize(
    "name", ["Limit", "rate_limit", "rate--limit", "-limit", "1st", "a/b", "..", "", "limit\n", "ä"]
)
@pytest.mark.usefixtures("empty")
def test_a_name_is_lower_case_words_joined_by_hyphens(name: str) -> None:
    message = refused("--", name)
    wanted = "a policy name: lower-case letters, digits and single dashes, a letter first"
    assert message.startswith(f"NAME: expected {wanted}, got ")
    assert message.endswith("write one like add-headers")


@pytest.mark.usefixtures("empty")
def test_a_name_that_is_long_or_taken_is_refused() -> None:
    assert "expected at most 100 characters, got 101" in refused("a" * 101)
    assert "build.yaml:3: has a policy log-message already" in refused("log-message")
    assert "NAME: expected a name that no shipped policy has, got cors" in refused("cors")


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_existing_files_are_never_overwritten(empty: Path, kind: str) -> None:
    place = empty / "policies" / "tenant_limit"
    place.parent.mkdir()
    if kind == "folder":
        place.mkdir()
    elif kind == "file":
        place.touch()
    else:
        place.symlink_to("nowhere")
    assert "policies/tenant_limit is already there: choose another name, or remove it" in refused("tenant-limit")


@pytest.mark.usefixtures("empty")
def test_outside_of_a_project_it_is_refused() -> None:
    Path("build.yaml").unlink()
    message = refused("limit")
    assert message.startswith(
        "build.yaml: expected the build.yaml of a project, got no such file; run it in the folder"
    )
    assert "gatewright init" in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("version: v1\npolicies: {}\n", "policies: expected a list of policies, got an object"),
        ("version: v1\npolicies: [\n", "expected a YAML document"),
        ("policies: []\n", "version: expected v1, got nothing"),
        ("version: v1\npolicies: &a\n  - {name: log-message}\nsdists: *a\n", "sdists"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_refused(empty: Path, text: str, says: str) -> None:
    (empty / "build.yaml").write_text(text)
    assert says in refused("limit")


def test_a_manifest_with_no_simple_place_is_left_to_its_author(empty: Path) -> None:
    (empty / "build.yaml").write_text("version: v1\npolicies: &all []\n")
    message = refused("limit")
    assert message.startswith("build.yaml: expected a list of policies that an entry can be added to; use --no-add")
    assert message.endswith("write {name: limit, filePath: policies/limit} into it")


def test_an_installation_without_go_sources_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match=r"--go: expected a checkout of Gatewright, .*, got an installation"):
        new_policy.go_sdk(Sources(tmp_path / "product"))


@pytest.mark.usefixtures("empty")
def test_a_folder_that_cannot_be_written_is_named() -> None:
    Path("policies").touch()
    assert "policies/limit: Not a directory" in refused("limit")
