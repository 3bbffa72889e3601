"""tools/javascript.py: what it installs is held by digests, and its tools find what they are for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ROOT / "tools" / "javascript"
LOCK = json.loads((PACKAGES / "package-lock.json").read_text())


def test_the_lock_has_a_digest_for_each_package_and_no_address() -> None:
    packages = {name: each for name, each in LOCK["packages"].items() if name}
    assert len(packages) > 10
    assert {name for name, each in packages.items() if not each.get("integrity", "").startswith("sha512-")} == set()
    assert {name for name, each in packages.items() if "resolved" in each} == set()
    assert {name for name, each in packages.items() if each.get("hasInstallScript")} == set()


def test_what_is_wanted_is_what_is_locked() -> None:
    wanted = json.loads((PACKAGES / "package.json").read_text())["devDependencies"]
    assert {name: LOCK["packages"][f"node_modules/{name}"]["version"] for name in wanted} == wanted
    assert LOCK["packages"][""]["devDependencies"] == wanted


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("/** @param {number} n */\nexport const twice = (n) => n * 2;\n", ""),
        ("/** @param {number} n */\nexport const twice = (n) => n.length;\n", "TS2339"),
        ("export function twice(n) {\n  return n * 2;\n}\n", "TS7006"),
        ("/** @param {string} text */\nexport const run = (text) => eval(text);\n", "noGlobalEval"),
    ],
    ids=["good", "no such member", "no type", "eval"],
)
def test_mistakes_are_found(tmp_path: Path, source: str, found: str) -> None:
    """In a project as the controller is one, with its configuration."""
    static = tmp_path / "src" / "gatewright_controller" / "inspector" / "static"
    static.mkdir(parents=True)
    (static / "app.js").write_text(source)
    for name in ("tsconfig.json", "biome.jsonc"):
        (tmp_path / name).write_text((ROOT / "gateway-controller" / name).read_text())
    command = [sys.executable, str(ROOT / "tools" / "javascript.py"), "--project", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode == 0) == (found == ""), done.stdout + done.stderr
    assert found in done.stdout + done.stderr
