"""The behaviour behind the seven mistakes of docs/reference/regressions.md, as far as no other test holds it."""

from __future__ import annotations

import ast
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

from e2e.kit.gateway import Gateway
from e2e.kit.places import ROOT

MEMBERS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["workspace"]["members"]
SOURCES = [ROOT / member for member in MEMBERS]

# Each module of ours in a process of its own, which has nothing of ours loaded but what the module imports itself: it
# is forked from the process of one of these imports, and the first from one that has third-party modules loaded.
IMPORT_EACH = """
import gc, importlib, json, os, sys, traceback
folder, followers = sys.argv[1], json.loads(sys.argv[2])
ours = {name.split(".")[0] for names in followers.values() for name in names}

def in_child(work):
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0

def load_all():
    sys.path.insert(0, folder)
    for names in followers.values():
        for name in names:
            importlib.import_module(name)
    loaded = (name for name, module in sys.modules.items() if getattr(module, "__spec__", None))
    os.write(write, "\\n".join(name for name in loaded if name.split(".")[0] not in ours).encode())

def import_with_followers(name):
    importlib.import_module(name)
    import_each_of(name)

def import_each_of(name):
    ends = [in_child(lambda: import_with_followers(follower)) for follower in followers.get(name, [])]
    assert all(ends), f"see above, in a process that has imported {name or 'nothing'}"

read, write = os.pipe()
if not in_child(load_all):
    sys.exit(1)
os.close(write)
with os.fdopen(read) as loaded:
    third_party = loaded.read().split()
for name in third_party:
    try:
        importlib.import_module(name)
    except ImportError:
        pass
sys.path.insert(0, folder)
gc.freeze()  # else a collection in a child copies what the parent has loaded
import_each_of("")
"""


def modules_in(folder: Path) -> list[str]:
    """The names of all modules under the folder, by which they are imported with the folder in sys.path."""
    files = (path.relative_to(folder) for path in folder.rglob("*.py") if path.name != "__main__.py")
    return sorted(".".join(file.with_suffix("").parts).removesuffix(".__init__") for file in files)


def imports_in(folder: Path, module: str, modules: Collection[str]) -> set[str]:
    """The modules among these that the module imports wherever it is imported, but for the packages around them."""
    file = folder.joinpath(*module.split("."))
    file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
    found: set[str] = set()
    for statement in ast.parse(file.read_bytes()).body:
        if isinstance(statement, ast.Import):
            found |= {alias.name for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
            found |= {f"{statement.module}.{alias.name}" for alias in statement.names} & {*modules} or {
                statement.module
            }
    return (found & {*modules}) - {module}


def followers_of(folder: Path, modules: Collection[str]) -> dict[str, list[str]]:
    """By module, those to be imported after it: it is the largest of their imports. By "", those without an import.

    A module whose import would import it again, in a cycle, is none of them.
    """
    imports = {module: imports_in(folder, module, modules) for module in modules}
    closures = {module: closure(module, imports) for module in modules}
    followers: dict[str, list[str]] = defaultdict(list)
    for module in modules:
        before = [name for name in sorted(imports[module]) if module not in closures[name]]
        followers[max(before, key=lambda name: len(closures[name]), default="")].append(module)
    return followers


def closure(module: str, imports: Mapping[str, set[str]]) -> set[str]:
    """The module, and all that is imported with it."""
    found, ahead = {module}, [module]
    while ahead:
        new = imports[ahead.pop()] - found
        found |= new
        ahead += new
    return found


def import_each(python: Path, folder: Path, modules: list[str], cwd: Path, **environment: str) -> None:
    assert modules, f"no modules in {folder}"
    followers = followers_of(folder, modules)
    assert sorted(itertools.chain(*followers.values())) == sorted(modules)
    command = [str(python), "-W", "error", "-c", IMPORT_EACH, str(folder), json.dumps(followers)]
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"} | environment
    result = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr


@pytest.mark.slow("a process for each module")
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_every_module_imports_alone_from_anywhere(source: Path, tmp_path: Path) -> None:
    folder = source / "src"
    import_each(Path(sys.executable), folder, modules_in(folder), tmp_path)


def test_every_module_of_a_build_imports_alone_from_anywhere(build: Path, tmp_path: Path) -> None:
    folder = build / "python-executor"
    apart = {"main", *(f"gatewright_executor.running.{name}" for name in ("opentelemetry_context", "tracer_provider"))}
    modules = [name for name in modules_in(folder) if name not in apart]  # main runs it; these need OpenTelemetry
    assert "python_policy_registry" in modules
    assert apart <= set(modules_in(folder))
    python = build / "python-env" / "default" / "bin" / "python"
    import_each(python, folder, modules, tmp_path, PYTHONPYCACHEPREFIX=str(tmp_path))  # a build with caches is no build


STUBS = """
import importlib, sys
sys.path.insert(0, sys.argv[1])
for name in sys.argv[2:]:
    assert importlib.import_module(name).__file__, f"{name} is no package"
lost = [name for name in sys.modules if name.endswith(("_pb2", "_pb2_grpc")) and "." not in name]
assert not lost, lost
"""


def test_generated_stubs_are_no_top_level_modules(build: Path, tmp_path: Path) -> None:
    built, executor = build / "python-env" / "default" / "bin" / "python", "gatewright_executor._gen"
    for python, folder, package in (
        (built, build / "python-executor", executor),
        (Path(sys.executable), ROOT / "gateway-controller" / "src", "gatewright_controller._gen"),
    ):
        names = [name for name in modules_in(folder) if name.startswith(package)]
        assert len(names) >= 2
        result = subprocess.run(
            [str(python), "-c", STUBS, str(folder), *names],
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr


def test_every_part_is_type_checked() -> None:
    makefile = (ROOT / "Makefile").read_text()
    parts = re.search(r"^TYPED := (.*)$", makefile, re.MULTILINE)
    assert parts
    assert set(MEMBERS) <= {part for group in shlex.split(parts[1]) for part in group.split()}
    assert re.search(r"for parts in \$\(TYPED\); do mypy \$\$parts", makefile), "`make check` checks all parts"
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["strict"]


def test_the_generated_registry_is_typed(build: Path) -> None:
    registry = build / "python-executor" / "python_policy_registry.py"
    result = subprocess.run(["mypy", "--strict", str(registry)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_the_executor_runs_on_the_interpreter_that_its_dependencies_were_installed_by(
    gateway: Gateway, build: Path
) -> None:
    pid = gateway.pid("executor-default-0")
    python = Path(Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0])
    assert python.is_relative_to(build)
    environment = python.parent.parent
    assert environment.parent.name == "python-env"
    look = "import os, google._upb._message as upb; print(os.path.realpath('/proc/self/exe'), upb.__file__, sep='\\n')"
    running, extension = subprocess.run(
        [str(python), "-c", look], capture_output=True, text=True, check=True, timeout=60
    ).stdout.splitlines()
    config = dict(re.findall(r"^(\S+) = (.*)$", (environment / "pyvenv.cfg").read_text(), re.MULTILINE))
    assert Path(config["home"]).resolve() == Path(running).parent
    assert Path(os.path.realpath(extension)).is_relative_to(os.path.realpath(environment))


def test_a_file_path_leads_to_the_runtime_that_the_definition_names(build: Path) -> None:
    policies = json.loads((build / "manifest.json").read_text())["policies"]
    runtimes = {policy["name"]: policy["runtime"] for policy in policies}
    assert {name: runtimes[name] for name in ("log-message", "add-headers", "mark", "add-python-header")} == {
        "log-message": "go",
        "add-headers": "go",
        "mark": "python",
        "add-python-header": "python",
    }
    registered = (build / "policy-engine" / "plugin_registry.go").read_text()
    for name, runtime in runtimes.items():
        lines = [line for line in registered.splitlines() if f'"{name}"' in line]
        assert [("BridgeFactory" in line) for line in lines] == [runtime == "python"] * len(lines) != [], lines
