"""Every module imports alone, in a fresh interpreter, from any folder, and brings nothing but the standard library."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import sdk

SOURCE = Path(sdk.__file__).parent
MODULES = sorted(f"sdk.{path.stem}" for path in SOURCE.glob("*.py") if path.stem != "__init__")
CHECK = """
import sys, importlib
importlib.import_module(sys.argv[1])
known = sys.stdlib_module_names | set(sys.argv[2:]) | {"sdk", "__main__"}
foreign = {name.split(".")[0] for name in sys.modules} - known
assert not foreign, f"imported besides the standard library: {foreign}"
"""
STARTED = "import sys; print(*sorted({name.split('.')[0] for name in sys.modules} - sys.stdlib_module_names))"


@pytest.mark.parametrize("module", MODULES)
def test_it_imports_alone(module: str, tmp_path: Path) -> None:
    """What the interpreter itself starts with (a virtual environment's hooks) is none of the SDK's doing."""
    started = subprocess.run([sys.executable, "-c", STARTED], cwd=tmp_path, capture_output=True, text=True, timeout=30)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CHECK, module, *started.stdout.split()],
        cwd=tmp_path, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_version_is_the_distributions() -> None:
    project = tomllib.loads((SOURCE.parents[1] / "pyproject.toml").read_text())
    assert sdk.__version__ == project["project"]["version"]
