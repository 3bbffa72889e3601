"""Compiles the hashed requirements/*.txt from what the components, the policies and requirements/*.in ask for,
and the bench's own.

Universal, and without index addresses: the files say what, never from where.
"""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OWN = ("gatewright-sdk", "gatewright-documents", "gatewright-executor", "gatewright-builder", "gatewright-controller")
OPTIONS = ("--universal", "--python-version", "3.11", "--generate-hashes", "--no-annotate", "--no-header", "--quiet")


def main() -> None:
    workspace = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["workspace"]
    projects = [f"{member}/pyproject.toml" for member in workspace["members"]]
    policies = sorted(
        str(path.relative_to(ROOT))
        for folder in ("policies", "sample-policies")
        for path in ROOT.glob(f"{folder}/*/requirements.txt")
    )
    compile_requirements("requirements/dev", *projects, *policies)
    compile_requirements("requirements/uv")
    compile_requirements("requirements/go")
    compile_requirements("requirements/node")
    compile_requirements("requirements/docs")
    compile_requirements("requirements/postgresql")
    compile_requirements("requirements/schemathesis")
    compile_requirements("requirements/llmock")
    compile_requirements("requirements/a2a")
    compile_requirements("requirements/litellm")
    compile_requirements("requirements/mcp")
    compile_requirements("requirements/kubernetes")
    for requirements in sorted((ROOT / "bench" / "requirements").glob("*.in")):
        compile_requirements(str(requirements.with_suffix("").relative_to(ROOT)))


def compile_requirements(name: str, *more: str) -> None:
    """`name` is a path without its suffix: NAME.in is compiled into NAME.txt, with what the other files ask for."""
    ours = [option for distribution in OWN for option in ("--no-emit-package", distribution)]
    inputs = (f"{name}.in", *more)
    command = ["uv", "pip", "compile", *OPTIONS, *ours, *inputs, "-o", f"{name}.txt"]
    subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
