"""tools/javascript.py: its packages are pinned by digests, its tools find mistakes, and it runs tests."""

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
    packages = {name: package for name, package in LOCK["packages"].items() if name}
    assert len(packages) > 10
    assert {
        name for name, package in packages.items() if not package.get("integrity", "").startswith("sha512-")
    } == set()
    assert {name for name, package in packages.items() if "resolved" in package} == set()
    assert {name for name, package in packages.items() if package.get("hasInstallScript")} == set()


def test_the_lock_has_exactly_the_required_packages() -> None:
    expected = json.loads((PACKAGES / "package.json").read_text())["devDependencies"]
    assert {name: LOCK["packages"][f"node_modules/{name}"]["version"] for name in expected} == expected
    assert LOCK["packages"][""]["devDependencies"] == expected


@pytest.mark.parametrize(
    ("source", "mistake"),
    [
        ("/** @param {number} n */\nexport const twice = (n) => n * 2;\n", ""),
        ("/** @param {number} n */\nexport const twice = (n) => n.length;\n", "TS2339"),
        ("export function twice(n) {\n  return n * 2;\n}\n", "TS7006"),
        ("/** @param {string} text */\nexport const run = (text) => eval(text);\n", "noGlobalEval"),
    ],
    ids=["good", "no such member", "no type", "eval"],
)
def test_mistakes_are_found(tmp_path: Path, source: str, mistake: str) -> None:
    """In a project like the controller's, with its configuration."""
    static = tmp_path / "src" / "gatewright_controller" / "inspector" / "static"
    static.mkdir(parents=True)
    (static / "app.js").write_text(source)
    for name in ("tsconfig.json", "biome.jsonc"):
        (tmp_path / name).write_text((ROOT / "gateway-controller" / name).read_text())
    command = [sys.executable, str(ROOT / "tools" / "javascript.py"), "--project", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (result.returncode == 0) == (mistake == ""), result.stdout + result.stderr
    assert mistake in result.stdout + result.stderr


def test_failures_are_shown_and_all_results_are_written(tmp_path: Path) -> None:
    tests, report = tmp_path / "tests" / "inspector", tmp_path / "build" / "junit.xml"
    tests.mkdir(parents=True)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    begin = 'import test from "node:test";\nimport assert from "node:assert/strict";\n'
    (tests / "good.test.js").write_text(f'{begin}test("a good one", () => assert.equal(1, 1));\n')
    command = [sys.executable, str(ROOT / "tools" / "javascript.py"), "--project", str(tmp_path), "--test"]
    result = subprocess.run(
        [*command, "--junit", str(report)], capture_output=True, text=True, check=False, timeout=120
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "tests 1 · pass 1 · fail 0" in result.stdout
    assert 'name="a good one"' in report.read_text()
    (tests / "bad.test.js").write_text(f'{begin}test("a bad one", () => assert.equal("got", "expected"));\n')
    (tests / "broken.test.js").write_text("import 'node:no-such-module';\n")
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 1
    assert all(text in result.stdout for text in ("a bad one", "'expected'", "no-such-module", "fail 2"))
    assert "a good one" not in result.stdout
