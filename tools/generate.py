"""Writes the code generated from proto/ into each user's _gen/ or gen/. `--check` fails where that changes anything.

Python stubs are generated under the package that uses them, so that they import as `package._gen.module` from
anywhere, whatever sys.path holds.
"""

from __future__ import annotations

import filecmp
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from envoy_names import write_constants
from go_tool import binary

ROOT = Path(__file__).resolve().parent.parent
PLUGINS = ("protoc-gen-go", "protoc-gen-go-grpc")
PYTHON = {  # package source root, package, proto folder
    "gateway-runtime/python-executor/src": ("gatewright_executor/_gen", "proto/gatewright/executor/v1"),
    "gateway-controller/src": ("gatewright_controller/_gen", "proto/gatewright/node/v1"),
    ".": ("bench/naive/_gen", "bench/naive"),
}
GO = {  # module root, module, where its proto files lie and import from
    "gateway-runtime/policy-engine": ("gatewright.dev/policy-engine", "proto"),
    "bench/peers/extproc": ("gatewright.dev/bench/extproc", "bench/naive"),
}


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        for root, (package, protos) in PYTHON.items():
            generate_python(out / root, package, ROOT / protos)
        for root, (module, protos) in GO.items():
            generate_go(out / root, module, ROOT / protos)
        write_constants(out)
        (check if "--check" in sys.argv else write)(out)


def generate_python(out: Path, package: str, protos: Path) -> None:
    (out / package).mkdir(parents=True)
    (out / package / "__init__.py").write_text('"""Generated from proto/ by tools/generate.py. Do not edit."""\n')
    files = [f"{package}/{proto.name}" for proto in sorted(protos.glob("*.proto"))]
    protoc(f"-I{package}={protos}", f"--python_out={out}", f"--pyi_out={out}", f"--grpc_python_out={out}",
           f"--mypy_grpc_out={out}", *files)  # fmt: skip


def generate_go(out: Path, module: str, protos: Path) -> None:
    out.mkdir(parents=True)
    for folder in sorted(
        {proto.parent for proto in protos.rglob("*.proto")}
    ):  # protoc-gen-go takes a package at a time
        protoc(
            f"-I{protos}",
            *(f"--plugin={plugin}={binary(plugin)}" for plugin in PLUGINS),
            *(f"--{name}_out={out}" for name in ("go", "go-grpc")),
            *(f"--{name}_opt=module={module}" for name in ("go", "go-grpc")),
            *(str(proto) for proto in sorted(folder.glob("*.proto"))),
        )


def protoc(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *arguments], check=True)


def generated_files(root: Path) -> dict[Path, Path]:
    folders = [
        *(root / source / package for source, (package, _) in PYTHON.items()),
        *(root / module / "gen" for module in GO),
    ]
    files = (
        file for folder in folders for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts
    )
    return {file.relative_to(root): file for file in files}


def check(out: Path) -> None:
    new, old = generated_files(out), generated_files(ROOT)
    stale = sorted(str(name) for name in new.keys() | old.keys() if not same(new.get(name), old.get(name)))
    if stale:
        raise SystemExit("generate: not what proto/ generates, run `make generate`:\n  " + "\n  ".join(stale))


def same(left: Path | None, right: Path | None) -> bool:
    return left is not None and right is not None and filecmp.cmp(left, right, shallow=False)


def write(out: Path) -> None:
    for name in generated_files(ROOT).keys() - generated_files(out).keys():
        (ROOT / name).unlink()
    for name, file in generated_files(out).items():
        (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, ROOT / name)


if __name__ == "__main__":
    main()
