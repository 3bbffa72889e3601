"""The test suite's own runner, on a small project: components that run or are left out, and the report at the end."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from suite import components, pytest_costs  # noqa: E402

UNITS = """
[groups]
all = ["shared.txt"]

[[component]]
name = "sums"
tests = ["sums/tests"]
depends = ["sums/src", "@all"]

[[component]]
name = "words"
tests = ["words/tests"]
depends = ["words/src", "@all"]
"""
THROUGH_ENVOY = """
[[component]]
name = "e2e/pages"
tests = ["e2e/pages"]
depends = ["pages", "@all"]
except = ["pages/drafts"]
nightly = true
"""
OF_POLICIES = """
[groups]

[[component]]
name = "e2e/pages"
tests = ["e2e/pages"]
depends = ["@named-policies"]
"""
OF_SCRIPTS = """
[groups]

[[component]]
name = "scripts"
tests = ["gateway-controller/tests/inspector/*.js"]
depends = ["gateway-controller/src"]
"""
OF_GO = """
[groups]

[[component]]
name = "numbers"
tests = ["numbers"]
depends = ["numbers"]
"""
FAILS_AS_A_PACKAGE = """package numbers

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	m.Run()
	os.Exit(1)
}

func TestNumbers(*testing.T) {}
"""
SCRIPT = """
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
test('it says "right"', () => {
  assert.equal(readFileSync(new URL("../../src/data.txt", import.meta.url), "utf8"), "right");
});
test("this one never runs", { skip: "it has a reason" }, () => {});
"""
TEMPLATES = "cli/src/gatewright_cli/"  # tests that `gatewright new` and `gatewright init` write
CONFTEST = """
def pytest_configure(config):
    config.addinivalue_line("markers", "alone: last")
    config.addinivalue_line("markers", "slow(reason): takes long")
"""
READS = "from pathlib import Path\n\n\ndef test_{name}():\n    assert Path('{path}').read_text() == 'right'\n"


PLUGINS = "-p xdist -p pytest_timeout -p pytest_randomly"
"""Those that the runner has options for: others would only be imported."""
ENVIRONMENT = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


class Project:
    """A repository with three components, whose tests pass while src/data.txt says "right"."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "tools").mkdir()
        shutil.copy(ROOT / "tools" / "run_tests.py", folder / "tools")
        shutil.copytree(
            ROOT / "tools" / "suite", folder / "tools" / "suite", ignore=shutil.ignore_patterns("__pycache__")
        )
        self.write("tools/suite/components.toml", UNITS + THROUGH_ENVOY)
        (folder / "tools" / "suite" / "recorded.json").unlink(missing_ok=True)
        self.write(
            "pyproject.toml",
            f'[tool.pytest.ini_options]\naddopts = "-ra --import-mode=importlib {PLUGINS}"\n',
        )
        self.write("conftest.py", CONFTEST)
        self.write(".gitignore", "__pycache__/\n/build/\n")
        self.write("shared.txt", "shared")
        for name, tests, data in (
            ("sums", "sums/tests/test_sums.py", "sums/src/data.txt"),
            ("words", "words/tests/test_words.py", "words/src/data.txt"),
            ("pages", "e2e/pages/test_pages.py", "pages/data.txt"),
        ):
            self.write(tests, READS.format(name=name, path=data))
            self.write(data, "right")
        subprocess.run(["git", "init", "-q", str(folder)], check=True)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "tools/run_tests.py", "--workers", "0", *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=120
        )


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.mark.slow("runs the tests of a project of its own many times")
def test_a_passed_component_is_left_out_until_a_dependency_changes(project: Project) -> None:
    first = project.run()
    assert first.returncode == 0, first.stdout + first.stderr
    assert first.stdout.startswith("tests: sums, words, e2e/pages (SEED=")
    assert first.stdout.endswith("tests: 3 passed, 0 failed, 0 skipped\n")
    again = project.run()
    assert again.returncode == 0
    assert again.stdout.startswith("tests: nothing has changed")
    assert "words is left out: it passed in this checkout, and nothing that it depends on has changed" in again.stdout
    project.write("sums/src/more.txt", "a file that git does not know yet")
    project.write("words/tests/test_more.py", "def test_more():\n    pass\n")
    project.write("pages/test_unit.py", "a test of a unit, on which the tests through Envoy do not depend")
    third = project.run()
    assert third.stdout.startswith("tests: sums, words (SEED=")
    project.write("shared.txt", "changed")
    assert project.run().stdout.startswith("tests: sums, words, e2e/pages (SEED=")
    assert project.run("--all").stdout.startswith("tests: sums, words, e2e/pages (SEED=")


def test_a_failure_stops_no_other_component_and_has_a_command_to_repeat_it(project: Project) -> None:
    project.write("sums/src/data.txt", "wrong")
    project.write("words/tests/test_broken.py", "import nothing_of_this_name\n")
    result = project.run()
    assert result.returncode == 1
    assert result.stdout.endswith("tests: 2 passed, 2 failed, 0 skipped\n")
    (repeat,) = [line.strip() for line in result.stdout.splitlines() if line.startswith("  pytest") and "sums" in line]
    assert repeat == "pytest 'sums/tests/test_sums.py::test_sums'"
    assert "pytest 'words/tests/test_broken.py'" in result.stdout
    assert (project.folder / "build" / "tests" / "report.txt").read_text() in result.stdout
    project.write("sums/src/data.txt", "right")
    assert project.run().stdout.startswith("tests: sums, words (SEED="), "what failed runs again"


def test_a_go_package_that_fails_although_its_tests_pass_has_failed(project: Project) -> None:
    project.write("tools/suite/components.toml", OF_GO)
    project.write("go.work", "go 1.24\n\nuse ./numbers\n")
    project.write("numbers/go.mod", "module numbers\n\ngo 1.24\n")
    project.write("numbers/numbers_test.go", FAILS_AS_A_PACKAGE)
    result = project.run()
    assert result.returncode == 1, result.stdout
    assert result.stdout.endswith("tests: 1 passed, 1 failed, 0 skipped\n")
    assert "failed; each one again, alone:\n  go test -race ./numbers\n    PASS\n    FAIL\tnumbers" in result.stdout


def test_tests_of_javascript_run_in_node_and_are_left_out_and_repeated_as_others_are(project: Project) -> None:
    shutil.copy(ROOT / "tools" / "javascript.py", project.folder / "tools")
    project.write("tools/suite/components.toml", OF_SCRIPTS)
    project.write("gateway-controller/package.json", '{"type": "module"}')
    project.write("gateway-controller/src/data.txt", "wrong")
    project.write("gateway-controller/tests/inspector/says.test.js", SCRIPT)
    project.write("gateway-controller/tests/inspector/broken.test.js", "import 'node:no-such-module';\n")
    result = project.run("--part", "scripts")
    assert result.stdout.endswith("tests: 0 passed, 2 failed, 1 skipped\n"), result.stdout + result.stderr
    commands = [
        shlex.split(line) for line in result.stdout.splitlines() if line.startswith("  python tools/javascript")
    ]
    broken, says = sorted(commands, key=lambda command: "--test-name-pattern" in command)
    assert broken[-1] == str(project.folder / "gateway-controller/tests/inspector/broken.test.js")
    again = subprocess.run([sys.executable, *says[1:]], cwd=project.folder, capture_output=True, text=True, check=False)
    assert 'it says "right"' in again.stdout
    (project.folder / "gateway-controller/tests/inspector/broken.test.js").unlink()
    project.write("gateway-controller/tests/inspector/says.test.js", SCRIPT.replace("skip:", "timeout: 9000, x:"))
    project.write("gateway-controller/src/data.txt", "right")
    assert project.run("--part", "scripts").stdout.endswith("tests: 2 passed, 0 failed, 0 skipped\n")
    assert "tests: scripts is left out: it passed in this checkout" in project.run().stdout


ALONE = """
from pathlib import Path

import pytest

def test_beside_others():
    Path("build/last").write_text("beside others")

@pytest.mark.alone
def test_alone():
    assert Path("build/last").read_text() == "beside others"
"""


def test_tests_that_need_the_machine_alone_run_last_and_are_collected_alone(project: Project) -> None:
    project.write("e2e/pages/test_alone.py", ALONE)
    result = project.run("--part", "pages")
    assert result.stdout.endswith("tests: 3 passed, 0 failed, 0 skipped\n"), result.stdout + result.stderr
    rows = [line.split()[:2] for line in result.stdout.splitlines()]
    assert ["e2e", "2"] in rows
    assert ["alone", "1"] in rows
    (project.folder / "e2e" / "pages" / "test_alone.py").unlink()
    assert "\n  alone " not in project.run("--part", "pages").stdout


def test_a_run_that_ends_before_its_tests_has_failed(project: Project) -> None:
    project.write("conftest.py", "raise RuntimeError('no')\n")
    result = project.run("--part", "sums")
    assert result.returncode == 1
    assert "units: pytest ended with 4" in result.stdout
    assert "sums" not in json.loads((project.folder / "build" / "tests" / "passed.json").read_text())


def test_a_nightly_component_is_left_out_where_the_recorded_run_has_passed_it(project: Project) -> None:
    assert project.run("--all", "--record").returncode == 0
    recorded = json.loads((project.folder / "tools" / "suite" / "recorded.json").read_text())
    assert set(recorded["passed"]) == {"e2e/pages"}
    shutil.rmtree(project.folder / "build")  # as in a fresh clone
    fresh = project.run()
    assert fresh.stdout.startswith("tests: sums, words (SEED=")
    assert "e2e/pages is left out: it passed in the recorded run" in fresh.stdout
    project.write("pages/drafts/data.txt", "of no other page")
    assert "e2e/pages is left out: it passed in" in project.run().stdout
    project.write("pages/data.txt", "wrong")
    assert project.run().returncode == 1


def test_a_component_depends_on_the_policies_that_its_tests_name(project: Project) -> None:
    project.write("tools/suite/components.toml", OF_POLICIES)
    for name in ("limit", "rate-limit", "shown"):
        project.write(f"policies/{name}/policy-definition.yaml", "")
        project.write(f"policies/{name}/policy.py", "")
    project.write("e2e/kit/build.yaml", "filePath: policies/shown")
    project.write("e2e/pages/test_more.py", "POLICY = 'rate-limit'\n")
    assert project.run().returncode == 0
    project.write("policies/limit/policy.py", "changed")
    assert "e2e/pages is left out" in project.run().stdout
    for name in ("rate-limit", "shown"):
        project.write(f"policies/{name}/policy.py", "changed")
        assert "e2e/pages is left out" not in project.run().stdout


def test_undeclared_reads_of_tests_are_named(project: Project) -> None:
    project.write("tools/suite/components.toml", UNITS)
    project.write("words/tests/test_words.py", READS.format(name="words", path="sums/src/data.txt"))
    assert "\n  words: sums/src/data.txt\n" in project.run().stdout


def test_several_parts_run_and_no_other(project: Project) -> None:
    assert project.run("--part", "pages", "sums/").stdout.startswith("tests: sums, e2e/pages (SEED=")


def test_an_unknown_component_is_refused_with_the_known_ones(project: Project) -> None:
    result = project.run("--part", "sum", "words")
    assert result.returncode == 2
    expected = "test: expected components of the project, got PART=sum; there are: e2e/pages, sums, words\n"
    assert result.stderr == expected


def test_the_longest_files_come_first_and_those_that_share_a_fixture_together() -> None:
    (folder,) = pytest_costs.TOGETHER
    seconds = {"a.py": 5.0, f"{folder}/b.py": 4.0, "c.py": 3.0, f"{folder}/d.py": 1.0, "e.py": 0.5}
    assert pytest_costs.order([*reversed(seconds)], seconds) == [
        "a.py",
        f"{folder}/b.py",
        f"{folder}/d.py",
        "c.py",
        "e.py",
    ]
    assert pytest_costs.order([*seconds, "new.py"], seconds)[:2] == ["a.py", "new.py"]


NOTES_ITS_PROCESS = """
import os
from pathlib import Path

def test_process():
    Path(f"build/processes/{os.getpid()}").touch()
"""


@pytest.mark.slow("runs pytest with several processes")
@pytest.mark.parametrize(("folder", "processes"), [(pytest_costs.TOGETHER[0], 1), ("e2e/pages", 2)])
def test_files_that_share_a_fixture_run_in_one_process(project: Project, folder: str, processes: int) -> None:
    project.write("tools/suite/components.toml", UNITS + THROUGH_ENVOY.replace("e2e/pages", folder))
    project.write("build/processes/.keep", "")
    for name in "abcd":
        project.write(f"{folder}/test_{name}.py", NOTES_ITS_PROCESS)
    result = project.run("--part", folder, "--workers", "2")
    assert result.returncode == 0, result.stdout + result.stderr
    assert len([*(project.folder / "build" / "processes").glob("[0-9]*")]) == processes


def test_a_folder_that_takes_longer_than_a_processs_share_is_divided() -> None:
    (folder,) = pytest_costs.TOGETHER
    seconds = {f"{folder}/a.py": 10.0, f"{folder}/b.py": 10.0, "c.py": 60.0}
    assert pytest_costs.folders_in_one_process([*seconds], 4, seconds) == {folder}
    assert pytest_costs.folders_in_one_process([*seconds], 5, seconds) == set()
    assert pytest_costs.folders_in_one_process([f"{folder}/a.py"], 2, seconds) == set()


def test_every_file_of_tests_belongs_to_a_component() -> None:
    known = components.read_components()
    places = [path for component in known for path in component.tests]
    files = [
        name for name in components.repository_files() if is_run_by_name(Path(name).name) and TEMPLATES not in name
    ]
    assert [name for name in files if not components.lies_in(name, places)] == []
    assert [path for path in places if not (ROOT / path).exists()] == []
    unknown = [
        f"{component.name}: {path}" for component in known for path in component.depends if not (ROOT / path).exists()
    ]
    assert unknown == []


def test_the_controllers_tests_depend_on_each_of_its_files() -> None:
    """The group that others share lists the controller's rooms, without the Inspector's."""
    (controller,) = (component for component in components.read_components() if component.name == "controller")
    files = [name for name in components.repository_files() if name.startswith("gateway-controller/src/")]
    assert [name for name in files if not components.lies_in(name, controller.depends)] == []


def is_run_by_name(name: str) -> bool:
    """Whether pytest, go test or node --test look for a file of this name."""
    file = Path(name).name
    runs = (file.startswith("test_") and file.endswith(".py")) or file.endswith(("_test.go", ".test.js"))
    return runs and not name.startswith(TEMPLATES)
