"""tools/words.py: the mistakes that it finds, the text that it leaves alone, and the cures that it prints."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import words

ROOT = Path(__file__).resolve().parents[2]


def check(*arguments: str) -> str:
    """The output of the check; empty if it finds no mistakes. In this process: a new one takes 0.1 s to start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["words.py", *arguments])
        try:
            words.main()
        except SystemExit as ended:
            return f"{ended.code}\n"
    return ""


def check_text(tmp_path: Path, text: str, name: str = "page.md") -> str:
    file = tmp_path / name
    file.write_text(text)
    return check(str(file))


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
    output = check_text(tmp_path, f"x = 1\n{text}\n", "module.py")
    assert "module.py:2: " in output
    assert "is not said here any more; say: " in output


@pytest.mark.parametrize(
    "text", ["screw", "Crewe", "What is refused is set aside.", "space", "stuckness", "a background"]
)
def test_words_that_only_share_letters_with_a_retired_one_are_left(tmp_path: Path, text: str) -> None:
    assert check_text(tmp_path, text, "module.py") == ""


def test_a_phrase_is_found_in_any_case(tmp_path: Path) -> None:
    assert "say: the GIL" in check_text(tmp_path, "While it waits for python's lock, it waits.\n")


def test_names_of_files_are_checked(tmp_path: Path) -> None:
    assert "in its name: 'crew'" in check_text(tmp_path, "", "crew.py")


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
    assert "page.md:1: expected " in check_text(tmp_path, text)


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
    assert check_text(tmp_path, text) == ""


# ---------------------------------------------------------------- code of held folders


def check_held(tmp_path: Path, name: str, text: str) -> list[int]:
    """The lines with mistakes of a file in a held folder."""
    file = tmp_path / name
    file.write_text(text)
    output = check("--as-held", str(tmp_path), str(file))
    return [int(line.rpartition(f"{name}:")[2].partition(":")[0]) for line in output.splitlines()[1:]]


PYTHON = '''"""A module that nobody reads."""

for one in policies: print(one)
pairs = [each for each in headers]
given: Spec = read()
with open(path) as said: pass
if (told := answer()): pass
def f(given, *, one=1): pass
def _told(): pass  # whoever asks
async def _wanted():
    """For whoever asks:

    somebody does."""
'''
GO = """// Package x is for nobody.
package x

func told(one string, b *T) {
	for _, each := range all {
	}
	one, err := f()
	if said, ok := known[key]; ok {
	}
	var given parameters
}
func (s *S) wanted(a, given int) error { /* whoever
	asks, somebody does */
}
"""
JAVASCRIPT = """// For nobody.
for (const one of all) show(one);
const { told, other } = read();
const names = all.map((one) => one.name);
const firsts = all.map(each => each[0]);
function told(given) {
/** For whoever
 * asks */
}
"""


@pytest.mark.parametrize(
    ("name", "text", "lines"),
    [
        ("module.py", PYTHON, [1, 3, 4, 5, 6, 7, 8, 8, 9, 9, 10, 11, 13]),
        ("x.go", GO, [1, 4, 4, 5, 7, 8, 10, 12, 12, 12, 13]),
        ("x.js", JAVASCRIPT, [1, 2, 3, 4, 5, 6, 6, 7]),
    ],
)
def test_names_and_comments_that_hide_their_subject_are_found(
    tmp_path: Path, name: str, text: str, lines: list[int]
) -> None:
    assert check_held(tmp_path, name, text) == lines


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "module.py",
            'a = "nobody"\nprint(a.told, one, each)\nstone = told(given=1)\n# each policy, as given; told apart\n',
        ),
        ("broken.py", "def one(:\n"),
        ("x.go", 'package x\n\nvar text = "nobody" + `one := 1`\nvar n = f(one, given)\n// one for each, as given\n'),
        (
            "x.js",
            'const a = "nobody";\nshow(one, told.given);\nconst stone = `one => ${each}`;\n// one for each, as given\n',
        ),
        ("page.md", "Nobody is told.\n"),
    ],
)
def test_uses_texts_and_good_english_are_left(tmp_path: Path, name: str, text: str) -> None:
    assert check_held(tmp_path, name, text) == []


def test_a_mistake_is_printed_with_its_cure(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("for one in policies: pass\n")
    output = check("--as-held", str(tmp_path), str(tmp_path / "module.py"))
    assert "module.py:1: a variable 'one': write the noun of the thing, as in `for policy in policies`" in output


def test_code_of_other_folders_is_left(tmp_path: Path) -> None:
    assert check_text(tmp_path, "for one in policies: pass  # nobody\n", "module.py") == ""


def test_a_held_folder_that_is_gone_is_named() -> None:
    assert "expected held folders to exist, got no/such/folder" in check("--as-held", "no/such/folder")
