"""tools/words.py: what it finds, what it leaves, and what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def said(tmp_path: Path, text: str, name: str = "page.md") -> str:
    """What the check says of a file; empty where it is content."""
    file = tmp_path / name
    file.write_text(text)
    command = [sys.executable, str(ROOT / "tools" / "words.py"), str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


@pytest.mark.parametrize(
    "text",
    [
        "join_crew()",
        "joinCrew()",
        "Crew",
        "CREW_SIZE",
        "the crew's threads",
        "set_aside",
        "setAside",
        "SetAside(",
        "fitLength",
    ],
)
def test_a_retired_word_is_found_in_prose_and_in_every_style_of_names(tmp_path: Path, text: str) -> None:
    answer = said(tmp_path, f"x = 1\n{text}\n", "module.py")
    assert "module.py:2: " in answer
    assert "is not said here any more; say: " in answer


@pytest.mark.parametrize(
    "text", ["screw", "Crewe", "What is refused is set aside.", "space", "stuckness", "a background"]
)
def test_what_only_has_its_letters_is_left(tmp_path: Path, text: str) -> None:
    assert said(tmp_path, text, "module.py") == ""


def test_a_phrase_is_found_in_any_case(tmp_path: Path) -> None:
    assert "say: the GIL" in said(tmp_path, "While it waits for python's lock, it waits.\n")


def test_a_name_of_a_file_is_looked_at(tmp_path: Path) -> None:
    assert "in its name: 'crew'" in said(tmp_path, "", "crew.py")


@pytest.mark.parametrize(
    "text",
    [
        "One sentence. Another one.\n",
        "- One. (Two are here.)\n",
        "Half a sentence that\ngoes on here.\n",
        "- **Lead.** One. Two.\n",
    ],
)
def test_a_line_holds_one_sentence(tmp_path: Path, text: str) -> None:
    assert "page.md:1: expected " in said(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        "One, by RFC 9112, 3.2, of v1.2.3, e.g. Envoy 1.40, see `a.b. C`.\nAnother one:\n\n- first\n- second\n",
        "**Lead.** One sentence.\n",
        "| a | b |\n| --- | --- |\n| One. Two. | three |\n",
        "```\nOne. Two\nthree\n```\n",
        "    One. Two\n    three\n",
        "# A heading\nA sentence.\n",
    ],
)
def test_tables_code_and_whole_sentences_are_left(tmp_path: Path, text: str) -> None:
    assert said(tmp_path, text) == ""
