from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from gatewright_cli.commands.scaffold.starter import write_starter
from gatewright_cli.commands.schema_command import KINDS
from gatewright_cli.main import cli
from gatewright_cli.mistakes import PreflightError

FILES = {
    ".gitignore", "apis/hello.yaml", "build.yaml", "policies/greet/policy-definition.yaml", "policies/greet/policy.py",
    "policies/greet/requirements.txt", "policies/greet/test_policy.py", "pyproject.toml",
    *(f".gatewright/schemas/{kind}.json" for kind in KINDS),
}  # fmt: skip


def found(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_that_is_not_there_is_made(tmp_path: Path) -> None:
    starter = write_starter(tmp_path / "new" / "gateway")
    assert {path.as_posix() for path in starter.written} == FILES == found(tmp_path / "new" / "gateway")
    assert starter.lacking == {}


STREAM_FILES = FILES | {
    f"policies/mask/{name}" for name in ("policy-definition.yaml", "policy.py", "requirements.txt", "test_policy.py")
}


def test_a_policy_that_streams_comes_with_it(tmp_path: Path) -> None:
    assert CliRunner().invoke(cli, ["init", "--stream", str(tmp_path)]).exit_code == 0
    assert found(tmp_path) == STREAM_FILES
    plain = write_starter(tmp_path / "plain").written
    changed = {
        path.as_posix() for path in plain if (tmp_path / path).read_bytes() != (tmp_path / "plain" / path).read_bytes()
    }
    assert changed == {"build.yaml", "apis/hello.yaml"}
    for name in changed:
        lines = (tmp_path / name).read_text().splitlines()
        assert [line for line in lines if "mask" not in line] == (tmp_path / "plain" / name).read_text().splitlines()
    shutil.rmtree(tmp_path / "plain")
    assert "15 passed" in says(tmp_path, "pytest")
    assert "Success: no issues found in 4 source files" in says(tmp_path, "mypy")


POLICY_FILES = ("policy-definition.yaml", "policy.py", "requirements.txt", "test_policy.py")
AI_FILES = {name for name in FILES if name.startswith(".gatewright/")} | {
    ".gitignore", "apis/model.yaml", "build.yaml", "provider.py", "pyproject.toml",
    *(f"policies/{policy}/{name}" for policy in ("guard", "provider_key") for name in POLICY_FILES),
}  # fmt: skip


def test_a_gateway_before_language_models_is_written_instead(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["init", "--ai", str(tmp_path)])
    assert done.exit_code == 0
    assert found(tmp_path) == AI_FILES
    assert "    python3 provider.py" in done.stdout
    assert "secrets/provider-key" in done.stdout
    assert "4 passed" in says(tmp_path, "pytest")
    assert "Success: no issues found in 4 source files" in says(tmp_path, "mypy")


def test_the_provider_reads_a_body_of_either_form(tmp_path: Path) -> None:
    """pii-mask, for one, sends a request on in chunks."""
    assert CliRunner().invoke(cli, ["init", "--ai", str(tmp_path)]).exit_code == 0
    command = [sys.executable, str(tmp_path / "provider.py"), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as provider:
        assert provider.stdout is not None
        try:
            url = provider.stdout.readline().strip()
            answers = [httpx.post(url, content=body).json() for body in (b"{}", iter([b"{", b"}"]))]
        finally:
            provider.kill()
    texts = [answer["choices"][0]["message"]["content"] for answer in answers]
    assert texts == ["Hello from the provider."] * 2


def test_ai_and_stream_are_not_for_one_folder(tmp_path: Path) -> None:
    refused = CliRunner().invoke(cli, ["init", "--ai", "--stream", str(tmp_path)])
    assert refused.exit_code == 2
    assert "expected one of --ai and --stream, got both" in refused.output
    assert found(tmp_path) == set()


def test_existing_files_stay_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "build.yaml").write_text("mine")
    (tmp_path / "apis").mkdir()
    (tmp_path / "apis" / "hello.yaml").write_text("mine too")
    with pytest.raises(PreflightError) as refused:
        write_starter(tmp_path)
    assert len(refused.value.mistakes) == 2
    assert f"{tmp_path}/build.yaml is already there" in str(refused.value)
    assert found(tmp_path) == {"build.yaml", "apis/hello.yaml"}


def test_other_files_are_not_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    write_starter(tmp_path)
    assert found(tmp_path) == {*FILES, "README.md"}


def test_a_place_where_nothing_can_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PreflightError, match=r"file.*: Not a directory: choose another folder"):
        write_starter(tmp_path / "file")


def test_a_project_keeps_its_own_files_and_the_missing_lines_are_printed(tmp_path: Path) -> None:
    own = {".gitignore": "/build/\n", "pyproject.toml": '[project]\nname = "shop"\n'}
    for name, text in own.items():
        (tmp_path / name).write_text(text)
    starter = write_starter(tmp_path)
    assert {name: (tmp_path / name).read_text() for name in own} == own
    assert {path.as_posix() for path in starter.written} == FILES - own.keys()
    assert starter.lacking[Path(".gitignore")] == ["/build/", "/.gatewright/", "__pycache__/", "/secrets/"]
    assert "[tool.mypy]" in starter.lacking[Path("pyproject.toml")]


def test_ruff_leaves_out_what_a_build_has_made(tmp_path: Path) -> None:
    """Also before `git init`, when no .gitignore counts."""
    write_starter(tmp_path)
    built = tmp_path / "build" / "stock" / "python-env" / "default" / "package.py"
    built.parent.mkdir(parents=True)
    built.write_text("import os\n")
    ruff = Path(sys.executable).with_name("ruff")
    shown = subprocess.run(
        [ruff, "check", "--show-files", "."], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    files = {Path(line).relative_to(tmp_path).as_posix() for line in shown.stdout.splitlines()}
    assert files == {"policies/greet/policy.py", "policies/greet/test_policy.py", "pyproject.toml"}


def test_it_prints_new_files_missing_lines_and_the_next_steps(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("__pycache__/\n/build/\n")
    done = CliRunner().invoke(cli, ["init", str(tmp_path)])
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert f"{tmp_path}/build.yaml" in lines
    assert f"{tmp_path}/.gitignore" not in lines
    kept = lines.index(f"{tmp_path}/.gitignore exists and was not changed. It should have:")
    assert lines[kept + 1 : kept + 4] == ["    /build/", "    /.gatewright/", "    __pycache__/"]
    assert lines[-4:] == [
        "Next:",
        f"    cd {tmp_path}",
        "    gatewright run",
        "    gatewright apply -f apis    (in another terminal, after a change)",
    ]


# ---------------------------------------------------------------- three policies, and what checks them


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """What `gatewright init` writes, and two more policies, added by hand as copies of the first."""
    write_starter(tmp_path)
    for name in ("caller", "rate_limit"):
        shutil.copytree(tmp_path / "policies" / "greet", tmp_path / "policies" / name)
    return tmp_path


def says(folder: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, check=False, timeout=110
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("arguments", [[], ["policies"], ["policies/caller"]], ids=" ".join)
def test_pytest_tests_them_all(three: Path, arguments: list[str]) -> None:
    assert f"{4 if 'policies/caller' in arguments else 12} passed" in says(three, "pytest", *arguments)


def test_pytest_needs_no_folder_names_that_python_takes(three: Path) -> None:
    (three / "policies" / "caller").rename(three / "policies" / "who-calls")
    assert "12 passed" in says(three, "pytest", "policies")


def test_mypy_checks_all_policies_and_finds_the_mistake_in_each(three: Path) -> None:
    for arguments in ([], ["policies"], ["--strict", "policies"], ["policies/caller"]):
        assert "Success: no issues found in" in says(three, "mypy", *arguments)
    for name in ("caller", "greet", "rate_limit"):
        with (three / "policies" / name / "policy.py").open("a") as file:
            file.write("\n\nresult: int = on_request\n")
    with pytest.raises(AssertionError, match="Found 3 errors in 3 files"):
        says(three, "mypy", "policies")
