"""Whole builds of the product in small: real uv environments and real go builds, no package from outside."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from gatewright_builder.build import BuildOptions, BuildResult, build
from gatewright_builder.events import Event, Note, Step
from gatewright_builder.mistake import BuildError
from gatewright_builder.tree import read_tree, write_tree

TESTDATA = Path(__file__).parent / "testdata"
pytestmark = [pytest.mark.compiles, pytest.mark.timeout(180)]


@dataclass
class Workplace:
    """A copy of build.yaml and its policies that a test may change."""

    folder: Path
    product: Path
    steps: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def output(self) -> Path:
        return self.folder / "build" / "test"

    def write(self, path: str, text: str) -> None:
        write_tree({path: text.encode()}, self.folder)

    def build(self) -> BuildResult:
        self.steps.clear()
        self.notes.clear()
        return build(BuildOptions(self.folder / "build.yaml", self.output, self.say, source_root=self.product))

    def say(self, event: Event) -> None:
        if isinstance(event, Step):
            self.steps.append(event.text)
        elif isinstance(event, Note):
            self.notes.append(event.text)

    def refused(self) -> str:
        before = fingerprint(self.output)
        with pytest.raises(BuildError) as caught:
            self.build()
        assert fingerprint(self.output) == before, "a failed build changed the output"
        assert sorted(path.name for path in self.output.parent.iterdir()) == [self.output.name]
        return str(caught.value)


def fingerprint(folder: Path) -> str:
    tree = read_tree(folder, lambda path: path.parts[0] == "python-env") if folder.exists() else {}
    environment = sorted(str(path) for path in (folder / "python-env").rglob("*"))
    return hashlib.sha256(repr((sorted(tree.items()), environment)).encode()).hexdigest()


def workplace(folder: Path, product: Path, *entries: str) -> Workplace:
    shutil.copytree(TESTDATA / "policies", folder / "policies")
    made = Workplace(folder, product)
    made.write("build.yaml", "\n".join(["version: v1", "policies:", *(f"  - {entry}" for entry in entries), ""]))
    return made


PAINT = "{name: paint, filePath: policies/paint}"
PAINT_NEXT = "{name: paint, filePath: policies/paint-next, group: slow}"
ADD_HEADERS = "{name: add-headers, filePath: policies/add-headers}"
ADD_HEADERS_NEXT = "{name: add-headers, filePath: policies/add-headers-next}"


@pytest.fixture
def mixed(tmp_path: Path, product: Path, packages: Path) -> Workplace:  # noqa: ARG001
    return workplace(tmp_path / "work", product, PAINT, ADD_HEADERS, PAINT_NEXT, ADD_HEADERS_NEXT)


@pytest.fixture(scope="module")
def built_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("built")


@pytest.fixture
def built(
    built_folder: Path, product: Path, write_packages: Callable[[Path], None], offer_packages: Callable[[Path], None]
) -> Workplace:
    """`mixed` after a build, for tests whose own builds are refused, which changes nothing: it is built once."""
    folder, packages = built_folder / "work", built_folder / "packages"
    if folder.exists():
        offer_packages(packages)
        return Workplace(folder, product)
    write_packages(packages)
    offer_packages(packages)
    made = workplace(folder, product, PAINT, ADD_HEADERS, PAINT_NEXT, ADD_HEADERS_NEXT)
    made.build()
    return made


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def run(*command: Path | str, folder: Path | None = None) -> str:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment = clean | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def serve(result: BuildResult, group: str) -> list[str]:
    """The lines that the small product's executor prints for a group."""
    assert result.executor is not None
    found = result.groups[group]
    return run(found.python, result.executor, "--registry", found.registry, folder=result.executor.parent).splitlines()


def test_two_versions_of_two_policies_run_side_by_side(mixed: Workplace) -> None:
    result = mixed.build()
    assert result.executor is not None
    assert run(result.engine).splitlines() == [
        "add-headers v1.9.0 old words <nil>",
        "add-headers v1.10.0 new words <nil>",
    ]
    assert serve(result, "default") == ["served by tiny_rpc 1.3", "paint:v1.0.0 painted 2.4"]
    assert serve(result, "slow") == ["served by tiny_rpc 1.3", "paint:v2.0.0 painted anew"]
    _dependencies_belong_to_the_interpreter_that_runs_the_executor(result.groups["default"].python)
    _a_second_build_does_nothing(mixed)
    _a_changed_python_policy_compiles_no_go(mixed)
    _a_new_python_policy_compiles_no_go(mixed)


def test_without_an_engine_there_is_what_runs_python_policies(mixed: Workplace) -> None:
    options = BuildOptions(
        mixed.folder / "build.yaml", mixed.output, mixed.say, source_root=mixed.product, engine=False
    )
    result = build(options)
    assert {"bin", "sbom.cdx.json"}.isdisjoint(names(mixed.output))
    assert serve(result, "default") == ["served by tiny_rpc 1.3", "paint:v1.0.0 painted 2.4"]
    assert build(options).changed == ()


def _dependencies_belong_to_the_interpreter_that_runs_the_executor(python: Path) -> None:
    machine = sys.version_info
    code = "import sys, tiny_rpc; print(sys.version, tiny_rpc.__file__, sep='|')"
    version, file = run(python, "-c", code).strip().split("|")
    assert version == sys.version
    assert Path(file).parent == python.parent.parent / "lib" / f"python{machine[0]}.{machine[1]}" / "site-packages"


def _a_second_build_does_nothing(mixed: Workplace) -> None:
    before = fingerprint(mixed.output)
    with started_programs() as started:
        again = mixed.build()
    assert again.changed == ()
    assert mixed.steps == []
    assert started == []
    assert fingerprint(mixed.output) == before


def _a_changed_python_policy_compiles_no_go(mixed: Workplace) -> None:
    mixed.write("policies/paint/words.py", 'SAY = "repainted"\n')
    with started_programs() as started:
        result = mixed.build()
    assert result.changed == ("python-executor", "sbom.cdx.json", "manifest.json")
    assert started == ["python"], "to import it, and nothing else"
    assert mixed.steps == ["importing the Python policies"]
    assert "paint:v1.0.0 repainted 2.4" in serve(result, "default")


def _a_new_python_policy_compiles_no_go(mixed: Workplace) -> None:
    shutil.copytree(mixed.folder / "policies/paint", mixed.folder / "policies/paint-again")
    definition = (mixed.folder / "policies/paint/policy-definition.yaml").read_text()
    mixed.write("policies/paint-again/policy-definition.yaml", definition.replace("v1.0.0", "v1.0.1"))
    listed = (mixed.folder / "build.yaml").read_text()
    mixed.write("build.yaml", f"{listed}  - {{name: paint, filePath: policies/paint-again}}\n")
    result = mixed.build()
    assert "policy-engine" in result.changed, "plugin_registry.go names it"
    assert not {"bin", "python-env/default"} & set(result.changed)
    assert mixed.steps == ["importing the Python policies"]
    assert "paint:v1.0.1 repainted 2.4" in serve(result, "default")


def test_the_same_input_gives_the_same_output(mixed: Workplace, product: Path, tmp_path: Path) -> None:
    first = mixed.build()
    shutil.copytree(mixed.folder, tmp_path / "copy", ignore=shutil.ignore_patterns("build"))
    second = Workplace(tmp_path / "copy", product).build()
    trees = [read_tree(result.output, lambda _: False) for result in (first, second)]
    assert {file: hashlib.sha256(content).hexdigest() for file, content in trees[0].items()} == {
        file: hashlib.sha256(content).hexdigest() for file, content in trees[1].items()
    }
    assert {"bin/policy-engine", "sbom.cdx.json", "requirements/default.lock", "manifest.json"} <= trees[0].keys()
    for part in ("python-env/default/", "python-executor/gatewright_executor/"):
        assert [file for file in trees[0] if file.startswith(part) and file.endswith(".pyc")]


def test_the_lock_keeps_versions_until_they_no_longer_fit(mixed: Workplace) -> None:
    mixed.write("policies/paint/requirements.txt", "colour==1.0\n")
    assert "colour==1.0" in (mixed.build().output / "requirements/default.lock").read_text()
    mixed.write("policies/paint/requirements.txt", "colour\n")
    assert "colour==1.0" in (mixed.build().output / "requirements/default.lock").read_text()
    mixed.write("policies/paint/requirements.txt", "colour>1\n")
    lock = (mixed.build().output / "requirements/default.lock").read_text()
    assert "colour==2.4" in lock
    assert lock.count("--hash=sha256:") >= 2
    mixed.write("policies/paint/requirements.txt", "colour>=7\n")
    sentence = "policies/paint/requirements.txt:1: expected packages that exist and go together, got"
    assert mixed.refused().startswith(sentence)


def test_a_build_without_python_policies_has_no_environment(tmp_path: Path, product: Path, packages: Path) -> None:
    shutil.rmtree(packages)
    go_only = workplace(tmp_path / "work", product, ADD_HEADERS)
    result = go_only.build()
    assert (result.executor, result.groups) == (None, {})
    assert not (go_only.folder / "build.lock").exists()
    assert names(result.output / "python-executor") == [".keep"]
    assert names(result.output) == [
        "bin", "manifest.json", "policy-definitions", "policy-engine", "python-executor", "sbom.cdx.json",
    ]  # fmt: skip
    assert run(result.engine) == "add-headers v1.9.0 old words <nil>\n"


def test_a_build_without_any_policy_is_whole_too(tmp_path: Path, product: Path) -> None:
    empty = Workplace(tmp_path / "work", product)
    empty.write("build.yaml", "version: v1\npolicies: []\n")
    result = empty.build()
    assert names(result.definitions) == []
    assert run(result.engine) == ""
    assert empty.build().changed == ()


def test_the_last_python_policy_takes_the_environment_with_it(mixed: Workplace) -> None:
    mixed.build()
    mixed.write("build.yaml", f"version: v1\npolicies:\n  - {ADD_HEADERS}\n")
    result = mixed.build()
    assert {"python-env", "requirements"} <= set(result.changed)
    assert not (result.output / "python-env").exists()
    assert names(result.output / "python-executor") == [".keep"]


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        (
            "paint/policy.py",
            "import json\nimport colours\n\ndef on_request(ctx, params): ...\n",
            "policies/paint/policy.py:2: expected a module that can be imported, got ModuleNotFoundError: No module"
            " named 'colours'; name the package that has colours in policies/paint/requirements.txt",
        ),
        (
            "paint/policy.py",
            "from sdk.policies import RequestAction\n\ndef on_request(ctx, params): ...\n",
            "policies/paint/policy.py:1: expected a module that can be imported, got ModuleNotFoundError: No module"
            " named 'sdk.policies'; write sdk.policy",
        ),
        (
            "paint/policy.py",
            "import words\n\ndef on_request(ctx, params): ...\n",
            "policies/paint/policy.py:1: expected a module that can be imported, got ModuleNotFoundError: No module"
            " named 'words'; write from . import words: a policy's folder is a package",
        ),
        (
            "paint/words.py",
            "print('at import')\n\nSAY = 1 / 0\n",
            "policies/paint/words.py:3: expected a module that can be imported, got ZeroDivisionError: division by"
            " zero; fix it: an executor imports each policy when it starts",
        ),
        (
            "paint/words.py",
            "import os\nos._exit(7)\n",
            "policies/paint/policy.py: expected a module that can be imported, got the import ended the process:"
            " exit code 7; take out what ends or stops the process (os._exit, a crash in C): it would be the executor",
        ),
        (
            "paint/words.py",
            "import os\nos._exit(0)\n",
            "policies/paint/policy.py: expected a module that can be imported, got the import ended the process:"
            " exit code 0; take out what ends or stops the process",
        ),
        (
            "add-headers/internal/words/words.go",
            "package words\n\nconst Say = 1 +\n",
            "policies/add-headers/internal/words/words.go:4: expected Go that compiles",
        ),
        (
            "add-headers/addheaders.go",
            "package addheaders\n\nfunc GetPolicy() {}\n",
            "policies/add-headers: expected Go that compiles, got cannot use add_headers_v1_9_0.GetPolicy",
        ),
    ],
)
def test_a_mistake_that_only_the_build_finds_names_the_policy(
    built: Workplace, file: str, text: str, sentence: str
) -> None:
    path = built.folder / "policies" / file
    right = path.read_bytes() if path.exists() else None
    try:
        built.write(f"policies/{file}", text)
        assert built.refused().startswith(sentence)
    finally:
        if right is None:
            path.unlink()
        else:
            path.write_bytes(right)


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize("case", sorted(TESTDATA.glob("*.bad-build")), ids=lambda case: case.stem)
def test_mistakes_that_only_tools_find_are_reported_for_all_policies_at_once(
    case: Path, tmp_path: Path, product: Path, update: bool
) -> None:
    bad, expected = Workplace(tmp_path / "work", product), case / "expected.txt"
    shutil.copytree(case, bad.folder)
    with pytest.raises(BuildError) as caught:
        bad.build()
    sentences = f"{caught.value}\n"
    if update:
        expected.write_text(sentences)
    assert sentences == expected.read_text()
    assert not bad.output.exists()
    assert not (bad.folder / "build.lock").exists()


def test_the_manifest_names_sources_and_digests(mixed: Workplace) -> None:
    manifest = json.loads(mixed.build().manifest.read_text())
    entry = manifest["policies"][2]
    assert {key: entry[key] for key in ("name", "version", "runtime", "group", "source")} == {
        "name": "paint",
        "version": "v1.0.0",
        "runtime": "python",
        "group": "default",
        "source": "policies/paint",
    }
    assert [len(entry[key]) for key in ("definitionDigest", "sourceDigest")] == [64, 64]


def test_only_the_policies_of_a_group_with_something_new_are_imported(mixed: Workplace, tmp_path: Path) -> None:
    once = tmp_path / "once"
    fails = f"import pathlib\nif pathlib.Path({str(once)!r}).exists():\n    raise RuntimeError('imported again')\n"
    next_policy = mixed.folder / "policies/paint-next/policy.py"
    next_policy.write_text(f"{fails}{next_policy.read_text()}")
    mixed.build()
    once.touch()
    before = digests(mixed.output)
    mixed.write("policies/paint/words.py", 'SAY = "repainted"\n')
    mixed.build()
    assert digests(mixed.output)["slow"] == before["slow"]
    assert digests(mixed.output)["default"] != before["default"]
    next_policy.write_text(f"{next_policy.read_text()}\n")
    assert "RuntimeError: imported again" in mixed.refused()


PLAIN = "{name: plain, filePath: policies/plain}"
DEFINITION = "name: plain\nversion: v1.0.0\nruntime: python\nprocessingMode: {requestHeaderMode: PROCESS}\n"


@pytest.fixture
def beside(tmp_path: Path, product: Path, packages: Path) -> Workplace:  # noqa: ARG001
    """Two policies in one group, of which plain says how often it was imported."""
    place = workplace(tmp_path / "work", product, PAINT, PLAIN)
    place.write("policies/plain/policy-definition.yaml", DEFINITION)
    place.write("policies/plain/policy.py", "def on_request(ctx, params): ...\n")
    return place


def test_of_a_group_only_what_has_changed_is_imported_again(beside: Workplace, tmp_path: Path) -> None:
    once = tmp_path / "once"
    fails = f"import pathlib\nif pathlib.Path({str(once)!r}).exists():\n    raise RuntimeError('imported again')\n"
    beside.write("policies/plain/policy.py", f"{fails}def on_request(ctx, params): ...\n")
    beside.build()
    once.touch()
    beside.write("policies/paint/words.py", 'SAY = "repainted"\n')
    beside.build()
    assert beside.steps == ["importing the Python policies"], "of the one that has changed"
    shutil.rmtree(beside.output / "python-env")
    assert "RuntimeError: imported again" in beside.refused(), "with another environment"
    once.unlink()
    beside.build()
    once.touch()
    beside.write("policies/plain/policy.py", f"{fails}\ndef on_request(ctx, params): ...\n")
    assert "RuntimeError: imported again" in beside.refused()


def test_slow_imports_are_noted_and_kept_beside_the_output(beside: Workplace) -> None:
    kept = beside.output.with_name(f".{beside.output.name}.slow-imports.json")
    beside.build()
    assert not kept.exists()
    beside.write("policies/plain/policy.py", "import time\ntime.sleep(2.1)\ndef on_request(ctx, params): ...\n")
    beside.build()
    (note,) = beside.notes
    assert re.fullmatch(
        r"plain:v1\.0\.0 takes \d+\.\d s to import, and a reload of the group default waits for it: `group: plain` "
        r"beside it in build\.yaml gives it executors of its own",
        note,
    )
    assert json.loads(kept.read_text()).keys() == {"plain:v1.0.0"}
    beside.write("policies/paint/words.py", 'SAY = "repainted"\n')
    beside.build()
    assert json.loads(kept.read_text()).keys() == {"plain:v1.0.0"}
    beside.write("policies/plain/policy.py", "def on_request(ctx, params): ...\n")
    beside.build()
    assert not kept.exists()


@contextmanager
def started_programs() -> Iterator[list[str]]:
    """The names of the programs that are started meanwhile."""
    started: list[str] = []
    start = subprocess.Popen.__init__

    def noted(process: subprocess.Popen[bytes], command: Sequence[str], **options: Any) -> None:
        started.append(Path(command[0]).name)
        start(process, command, **options)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(subprocess.Popen, "__init__", noted)
        yield started


def digests(output: Path) -> dict[str, str]:
    named = json.loads((output / "manifest.json").read_text())["groups"]
    return {name: group["digest"] for name, group in named.items()}
