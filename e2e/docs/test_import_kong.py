"""docs/how-to/import-kong.md, followed; and its table of plugins, which is that of the importer."""

from __future__ import annotations

import json
import re
import stat
import subprocess
from pathlib import Path

from e2e.kit.markdown import blocks, commands, inline, page, section

PAGE = page("docs/how-to/import-kong.md")


def test_the_page_shows_what_an_import_writes(tmp_path: Path) -> None:
    document, api = blocks(PAGE, "yaml")
    (report,) = blocks(PAGE, "text")
    (tmp_path / "kong.yaml").write_text(document)
    command = next(command for command in commands(PAGE, "gatewright import") if "-o" in command)
    result = subprocess.run(command.split(), cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600)
    assert (result.returncode, result.stdout, result.stderr) == (3, "", report)
    assert (tmp_path / "imported" / "apis" / "orders.yaml").read_text() == api
    keys = tmp_path / "imported" / "consumer-keys.jsonl"
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    (line,) = keys.read_text().splitlines()
    assert json.loads(line) == {"consumer": "ada", "name": "kong-1", "key": "5b1f0c7de2a94e0b8a6d3f27"}
    others = [path for path in (tmp_path / "imported").rglob("*") if path.is_file() and path != keys]
    assert [path for path in others if "5b1f0c7de2a94e0b8a6d3f27" in path.read_text()] == []
    names = re.findall("name: (.*)", (tmp_path / "imported" / "build.yaml").read_text())
    assert names == ["api-key-auth", "rate-limit"]
    again = [*command.split(), "--force", "--accept"]
    assert subprocess.run(again, cwd=tmp_path, capture_output=True, check=False, timeout=600).returncode == 0


def test_the_page_lists_the_plugins() -> None:
    """Imported by the program under test: the list is data of the importer, which no command prints."""
    script = "from gatewright_cli.kong import COUNTERPARTS, OBSERVERS\nprint(*COUNTERPARTS, *OBSERVERS)"
    result = subprocess.run(["python", "-c", script], capture_output=True, text=True, check=True, timeout=600)
    rows = [row.split("|") for row in section(PAGE, "Plugins").splitlines() if row.startswith("| `")]
    listed = [name for row in rows for name in inline(row[1])]
    assert sorted(listed) == sorted(result.stdout.split())
