"""What `make api-fuzz` says of the page of rights, and what it leaves behind when it is ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_fuzz import logged_errors
from api_fuzz_rights import PAGE, contradictions, read_cells

ROOT = Path(__file__).resolve().parents[2]
PAGE_LINES = """| operation | right | stranger | node | viewer | publisher | admin | bound: own | bound: another's |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
| `GET /v1/apis` | `apis:read` | 401 | 403 | yes | yes | yes | yes | yes |
| `GET /v1/apis/{name}` | `apis:read` | 401 | 403 | yes | yes | yes | yes | 403 |
"""
AS_THE_PAGE_HAS_IT = {
    "node": {"listApis any": {"403": 3}},
    "viewer": {"listApis any": {"200": 1, "400": 2}, "getApi own": {"404": 1}},
    "bound": {"listApis any": {"200": 2}, "getApi own": {"200": 1}, "getApi foreign": {"403": 1, "400": 3}},
}
ENDED = """
import sys
sys.path.insert(0, "tools")
import api_fuzz
from pathlib import Path
environment = Path(sys.argv.pop())
api_fuzz.install = lambda name: environment
api_fuzz.main()
"""


def test_what_roles_are_answered_is_held_to_the_page(tmp_path: Path) -> None:
    page = tmp_path / "rights.md"
    page.write_text(PAGE_LINES)
    assert contradictions(AS_THE_PAGE_HAS_IT, page) == []


@pytest.mark.parametrize(
    ("role", "answered", "cell"),
    [
        ("node", {"listApis any": {"403": 3, "404": 1}}, "GET /v1/apis as node: expected 403"),
        ("viewer", {"getApi own": {"403": 3}}, "GET /v1/apis/{name} as viewer: expected yes"),
        ("bound", {"getApi foreign": {"403": 3, "200": 1}}, "GET /v1/apis/{name} as bound: another's: expected 403"),
        ("bound", {"getApi own": {"403": 3}}, "GET /v1/apis/{name} as bound: own: expected yes"),
    ],
)
def test_a_cell_that_the_answers_contradict_is_named(
    role: str, answered: dict[str, dict[str, int]], cell: str, tmp_path: Path
) -> None:
    page = tmp_path / "rights.md"
    page.write_text(PAGE_LINES)
    (found,) = contradictions({role: answered}, page)
    assert cell in found


def test_answers_about_other_resources_say_nothing_of_those_of_the_teams(tmp_path: Path) -> None:
    page = tmp_path / "rights.md"
    page.write_text(PAGE_LINES)
    assert contradictions({"bound": {"getApi any": {"404": 3, "403": 1}}}, page) == []


def test_the_page_is_written_from_the_answers(tmp_path: Path) -> None:
    page = tmp_path / "rights.md"
    page.write_text(f"# Rights\n\n{PAGE_LINES}\nEnd.\n")
    assert contradictions({"node": {"listApis any": {"200": 1}}}, page, update=True) == []
    assert page.read_text() == f"# Rights\n\n{PAGE_LINES}\nEnd.\n".replace("401 | 403", "401 | yes", 1)


def test_the_page_has_cells() -> None:
    cells = read_cells(PAGE.read_text())
    assert cells["DELETE /v1/apis/{name}", "viewer"] == "403"
    assert set(cells.values()) == {"yes", "403"}


def test_what_the_controller_logged_of_a_failure_is_shown_once(tmp_path: Path) -> None:
    (log := tmp_path / "controller.log").write_text(
        '{"level": "info", "message": "ready"}\n'
        '{"level": "error", "message": "request failed", "error": "Traceback …"}\n'
        '{"level": "error", "message": "request failed", "error": "Traceback …"}\n'
        "a line of a library\n"
    )
    assert logged_errors(log) == ["Traceback …"]


@pytest.fixture(name="temporary")
def _temporary() -> Iterator[Path]:
    """A folder whose path is short enough for a socket in it."""
    with tempfile.TemporaryDirectory(prefix="ended-") as folder:
        yield Path(folder)


def test_a_run_that_is_ended_leaves_nothing_behind(tmp_path: Path, temporary: Path) -> None:
    program = tmp_path / "bin" / "st"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nimport time\nprint('sent', flush=True)\ntime.sleep(600)\n")
    program.chmod(0o755)
    command = [sys.executable, "-c", ENDED, "--role", "viewer", str(tmp_path)]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout
        assert [run.stdout.readline(), run.stdout.readline()] == ["api-fuzz: as viewer\n", "sent\n"]
        assert [folder.name.startswith("api-fuzz-") for folder in temporary.iterdir()] == [True]
        run.send_signal(signal.SIGTERM)
        assert run.stdout.read() == ""  # once the last process with it has ended
    assert run.returncode == 143
    assert list(temporary.iterdir()) == []
