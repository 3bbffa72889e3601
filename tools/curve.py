"""Prints the curve of our own code: how long functions and files are, and whether imports cycle.

A mirror, not a target. Fails where a function passes 80 lines, a hand-written file 600, or imports cycle;
warns where functions of at most 10 / 25 / 50 lines fall under 60 / 85 / 95 % in a part of the project.
"""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import grimp

ROOT = Path(__file__).resolve().parent.parent
FUNCTION_MAX, FILE_MAX = 80, 600
FLOORS = {10: 60, 25: 85, 50: 95}


@dataclass(frozen=True)
class Function:
    where: str
    lines: int


@dataclass(frozen=True)
class File:
    name: str
    lines: int
    functions: tuple[Function, ...]


def main() -> None:
    files = [measure(name) for name in hand_written()]
    for part in sorted({part_of(file) for file in files}):
        print(curve(part, [file for file in files if part_of(file) == part]))
    mistakes = [*too_long(files), *cycles()]
    if mistakes:
        raise SystemExit("\n".join(["curve: failed", *mistakes]))


def hand_written() -> list[str]:
    """Tracked Python, Go, JavaScript and CSS files, without generated ones and the inputs of tests."""
    command = ["git", "ls-files", "*.py", "*.go", "*.js", "*.css"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    generated = re.compile(r"/(_gen|gen|testdata)/")
    return [name for name in result.stdout.split() if not generated.search(name) and (ROOT / name).exists()]


def measure(name: str) -> File:
    text = (ROOT / name).read_text()
    functions = MEASURED.get(Path(name).suffix, lambda _: ())(text)
    return File(name, text.count("\n"), tuple(Function(f"{name}:{line}", length) for line, length in functions))


def python_functions(text: str) -> Iterator[tuple[int, int]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, (node.end_lineno or node.lineno) - node.lineno + 1


def go_functions(text: str) -> Iterator[tuple[int, int]]:
    """Top-level functions of gofmt-ed text: from `func` at the margin to `}` at the margin."""
    start = 0
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("func "):
            start = number
            if line.endswith("}"):
                yield number, 1
                start = 0
        elif line == "}" and start:
            yield start, number - start + 1
            start = 0


MEASURED = {".py": python_functions, ".go": go_functions}  # of other files their length alone is held


def part_of(file: File) -> str:
    """The folder a file belongs to; tests are a part of their own, since they are read otherwise."""
    test = "/tests/" in file.name or file.name.endswith("_test.go") or file.name.startswith("e2e/")
    return file.name.split("/")[0] + (" (tests)" if test else "")


def curve(part: str, files: list[File]) -> str:
    lengths = [function.lines for file in files for function in file.functions] or [0]
    shares = {limit: 100 * sum(length <= limit for length in lengths) // len(lengths) for limit in FLOORS}
    warning = "".join(f"  ! ≤{limit} under {FLOORS[limit]}%" for limit in FLOORS if shares[limit] < FLOORS[limit])
    middle = median(file.lines for file in files)
    figures = " ".join(f"≤{limit}: {share:3}%" for limit, share in shares.items())
    return f"curve: {part:24} {figures}  functions {len(lengths):4}  median file {middle:4.0f}{warning}"


def too_long(files: list[File]) -> Iterator[str]:
    for file in files:
        if file.lines > FILE_MAX:
            yield f"  {file.name}: {file.lines} lines, at most {FILE_MAX}: it has become two things"
        for function in file.functions:
            if function.lines > FUNCTION_MAX:
                yield f"  {function.where}: a function of {function.lines} lines, at most {FUNCTION_MAX}"


def packages() -> Iterator[str]:
    """The import packages of all members of the workspace."""
    workspace = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["workspace"]
    for member in workspace["members"]:
        yield from sorted(path.parent.name for path in (ROOT / member / "src").glob("*/__init__.py"))


def cycles() -> Iterator[str]:
    for package in packages():
        graph = grimp.build_graph(package, cache_dir=None)
        for module in sorted(graph.modules):
            for imported in sorted(graph.find_modules_directly_imported_by(module)):
                if imported < module and graph.find_shortest_chain(imported, module):
                    yield f"  imports cycle: {module} and {imported}"


if __name__ == "__main__":
    main()
