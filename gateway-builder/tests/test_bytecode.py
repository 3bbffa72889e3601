"""The executor's bytecode: taken by an import in place of the sources, and made of nothing but these."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from gatewright_builder.bytecode import compile_modules
from gatewright_builder.generation import generate_python_executor_base
from gatewright_builder.sources import find_sources
from gatewright_builder.tree import Tree, write_tree

COMPILED = re.compile(r"^# code object from '?(.+\.py)'?$", re.MULTILINE)
"""The line of `python -v` where it compiles a source itself."""


@pytest.fixture(scope="module")
def executor() -> Tree:
    return generate_python_executor_base(find_sources())


def imported(folder: Path, module: str) -> str:
    command = (sys.executable, "-v", "-B", "-c", f"import {module}")
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=60).stderr


def test_an_executor_imports_it_and_compiles_nothing(executor: Tree, tmp_path: Path) -> None:
    write_tree(executor | compile_modules(executor, {}), tmp_path)
    output = imported(tmp_path, "gatewright_executor.main")
    assert f"{tmp_path}/gatewright_executor/main.py" in output
    assert [path for path in COMPILED.findall(output) if path.startswith(f"{tmp_path}/")] == []


def test_a_source_that_has_changed_since_counts(tmp_path: Path) -> None:
    sources: Tree = {"greeting.py": b"raise SystemExit('as it was')\n"}
    write_tree(sources | compile_modules(sources, {}), tmp_path)
    (tmp_path / "greeting.py").write_bytes(b"import sys\nprint('as it is', file=sys.stderr)\n")
    output = imported(tmp_path, "greeting")
    assert "as it is" in output
    assert f"{tmp_path}/greeting.py" in COMPILED.findall(output)


def test_it_is_the_same_whatever_a_process_did_before(tmp_path: Path) -> None:
    """Its order of sets, and which names others use as well."""
    source = "def held(word):\n    used_once = word in {'one', 'two', 'three'}\n"
    (tmp_path / "held.py").write_text(source)
    script = "import sys; from gatewright_builder.bytecode import compile_modules\n"
    script += f"sys.stdout.buffer.write(compile_modules({{'held.py': {source.encode()!r}}}, {{}}).popitem()[1])"

    def made(before: str, seed: str) -> bytes:
        command = (sys.executable, "-c", f"{before}\n{script}")
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": str(tmp_path)}
        return subprocess.run(command, env=environment, capture_output=True, check=True, timeout=60).stdout

    assert made("", "1") == made("import held", "2") != b""


def test_what_is_known_to_be_right_is_not_made_again(executor: Tree) -> None:
    known = dict.fromkeys(compile_modules(executor, {}), b"as it was")
    changed = "gatewright_executor/main.py"
    made = compile_modules(executor, executor | known | {changed: b"other\n"})
    assert [path for path, content in made.items() if content != b"as it was"] == [
        f"gatewright_executor/__pycache__/main.{sys.implementation.cache_tag}.pyc"
    ]


def test_policies_are_compiled_where_they_are_loaded() -> None:
    """The compiler's warnings about a policy would be lost otherwise."""
    assert compile_modules({"policies/paint_v1_0_0/policy.py": b"x = '\\d'\n", "notes.txt": b""}, {}) == {}
