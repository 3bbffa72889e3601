"""Every module imports alone, in a fresh interpreter, from any folder, and brings nothing but the standard library."""

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import gatewright
import pytest

SOURCE = Path(gatewright.__file__).parent
NAMES = sorted(
    ".".join(path.relative_to(SOURCE).with_suffix("").parts) for path in SOURCE.rglob("*.py") if path.stem != "__init__"
)
PUBLIC = sorted(path.stem for path in (SOURCE.parent / "sdk").glob("*.py") if path.stem != "__init__")
PAGE = SOURCE.parents[3] / "docs" / "how-to" / "policy-contract.md"
CHECK = """
import sys, importlib
importlib.import_module(sys.argv[1])
known = sys.stdlib_module_names | set(sys.argv[2:]) | {"gatewright", "sdk", "__main__"}
foreign = {name.split(".")[0] for name in sys.modules} - known
assert not foreign, f"imported besides the standard library: {foreign}"
"""
STARTED = "import sys; print(*sorted({name.split('.')[0] for name in sys.modules} - sys.stdlib_module_names))"


@pytest.fixture(scope="module")
def started() -> list[str]:
    """What the interpreter itself starts with (a virtual environment's hooks) is none of the SDK's doing."""
    command = [sys.executable, "-c", STARTED]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split()


@pytest.mark.parametrize("module", [*(f"gatewright.{name}" for name in NAMES), *(f"sdk.{name}" for name in PUBLIC)])
def test_it_imports_alone(module: str, started: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", CHECK, module, *started]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_the_version_is_the_distributions() -> None:
    project = tomllib.loads((SOURCE.parents[1] / "pyproject.toml").read_text())
    assert gatewright.__version__ == project["project"]["version"]


@pytest.mark.parametrize("name", PUBLIC)
def test_the_customers_name_gives_the_very_same_objects(name: str) -> None:
    ours, theirs = importlib.import_module(f"gatewright.{name}"), importlib.import_module(f"sdk.{name}")
    written = [member for member in vars(ours) if not member.startswith("_")]
    public = getattr(theirs, "__all__", getattr(ours, "__all__", written))
    assert public
    for member in public:
        assert getattr(theirs, member) is getattr(ours, member)


def test_what_policies_import_is_what_the_page_lists() -> None:
    section = PAGE.read_text().partition("\n### What a policy imports\n")[2].partition("\n#")[0]
    assert re.findall(r"^\| `sdk\.(\w+)` \|", section, re.MULTILINE) == PUBLIC


def test_a_folder_named_sdk_hurts_nobody_who_imports_gatewright(tmp_path: Path) -> None:
    (tmp_path / "sdk").mkdir()
    (tmp_path / "sdk" / "__init__.py").write_text("raise ImportError('this is the author's own')")
    code = "".join(f"import gatewright.{name}\n" for name in NAMES)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
