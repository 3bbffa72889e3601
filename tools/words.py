"""Checks words and lines.

    python tools/words.py [FILE…]             default: all files that git knows of
    python tools/words.py --as-held FOLDER    as if FOLDER were among the held folders, to clean it before it is added

No file uses a retired word of tools/words.toml, and a line of Markdown holds one sentence.
Code of the held folders (`held.folders` of tools/words.toml) names variables and functions by what they are, and its
comments name their subject.
Decisions and the changelog are history: retired words may stay in them.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from words_of_code import CodeRules

ROOT = Path(__file__).resolve().parent.parent
LIST = Path(__file__).with_name("words.toml")
SUFFIXES = {".py", ".pyi", ".go", ".js", ".css", ".html", ".svg", ".jinja", ".md", ".txt"} | {
    ".yaml", ".yml", ".toml", ".json", ".proto", ".sh",
}  # fmt: skip
NAMES = {"Makefile", "Dockerfile"}
HISTORY = re.compile(r"^(docs/decisions/|CHANGELOG\.md$)")
NOT_OURS = re.compile(
    r"^requirements/|/(_?gen|requirements)/|^tools/(tests/test_)?words|/testdata/fuzz/|(^|/)(build\.lock|LICENSE)$"
)


@dataclass(frozen=True)
class Mistake:
    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"  {self.file}:{self.line}: {self.text}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Checks words and lines.")
    parser.add_argument("--as-held", metavar="FOLDER", help="check the code of FOLDER as that of held folders")
    parser.add_argument("files", nargs="*", metavar="FILE")
    options = parser.parse_args()
    rules = Rules.read(tomllib.loads(LIST.read_text()), options.as_held)
    names = options.files or [name for name in tracked() if is_below(name, options.as_held or "")]
    mistakes = [mistake for name in names for mistake in mistakes_of(name.removeprefix("./"), rules)]
    if mistakes:
        raise SystemExit("\n".join(["words: failed", *map(str, mistakes)]))


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if name]


def mistakes_of(name: str, rules: Rules) -> Iterator[Mistake]:
    path = ROOT / name
    if HISTORY.search(name) or NOT_OURS.search(name) or not path.is_file():
        return
    yield from (Mistake(name, 0, f"in its name: {mistake}") for _, mistake in rules.retired.in_text(name))
    if path.suffix not in SUFFIXES and path.name not in NAMES:
        return
    text = path.read_text()
    findings = [*rules.retired.in_text(text)]
    if path.suffix == ".md":
        findings += sentences(text)
    if any(is_below(name, folder) for folder in rules.held):
        findings += rules.code.findings(path.suffix, text)
    yield from (Mistake(name, number, mistake) for number, mistake in findings)


def is_below(name: str, folder: str) -> bool:
    """Whether a file lies in a folder; "" is the repository's root."""
    return not folder or name.startswith(f"{folder.rstrip('/')}/")


@dataclass(frozen=True)
class Rules:
    retired: Retired
    code: CodeRules
    held: tuple[str, ...]

    @classmethod
    def read(cls, document: dict[str, Any], as_held: str | None) -> Rules:
        """Raises SystemExit for a held folder that is not there."""
        held = (*document["held"]["folders"], *([as_held] if as_held else []))
        if missing := [folder for folder in held if not (ROOT / folder).is_dir()]:
            raise SystemExit(f"words: expected held folders to exist, got {', '.join(missing)}: see tools/words.toml")
        retired = Retired({kind: words for kind, words in document.items() if kind in FORMS})
        return cls(retired, CodeRules.of(document["code"]), held)


# ---------------------------------------------------------------- words


class Retired:
    """The words of the list. They are searched for plainly, and only lines that have the letters by a pattern."""

    def __init__(self, listed: dict[str, dict[str, str]]) -> None:
        self._say: list[str] = []
        self._letters: set[str] = set()
        patterns = []
        for kind, words in listed.items():
            for key, say in words.items():
                forms = list(FORMS[kind](key))
                patterns.append(f"({'|'.join(forms)})")
                self._say.append(say)
                self._letters |= set(key.lower().split()) if kind == "words" else spellings(key.lower())
        self._pattern = re.compile("|".join(patterns))

    def in_text(self, text: str) -> Iterator[tuple[int, str]]:
        """The numbers of lines with a retired word, and the word to use."""
        lowered = text.lower()
        spellings = [spelling for spelling in self._letters if spelling in lowered]
        if not spellings:
            return
        for number, line in enumerate(text.splitlines(), 1):
            low = line.lower()
            if any(spelling in low for spelling in spellings):
                for match in self._pattern.finditer(line):
                    assert match.lastindex
                    yield number, f"{match[0]!r} is not said here any more; say: {self._say[match.lastindex - 1]}"


def spellings(key: str) -> set[str]:
    return {key, key.replace("_", ""), key.replace("_", "-")}


def parts(name: str) -> Iterator[str]:
    """Patterns of a word, or of several joined by `_`, as part of a name in any style: set_aside, setAside, …"""
    words = name.split("_")
    camel = words[0] + "".join(word.title() for word in words[1:])
    yield rf"(?<![A-Za-z]){'[_-]'.join(words)}(?![a-z])"
    if len(words) > 1:
        yield rf"(?<![A-Za-z]){camel}(?![a-z])"
    yield rf"(?<![A-Z]){camel[0].upper()}{camel[1:]}(?![a-z])"
    yield rf"(?<![A-Za-z]){'_'.join(words).upper()}(?![A-Za-z])"


FORMS: dict[str, Callable[[str], Iterable[str]]] = {
    "words": lambda key: (form for word in key.split() for form in parts(word)),
    "names": parts,
    "identifiers": lambda key: [rf"\b{re.escape(key)}\b"],
    "phrases": lambda key: [rf"(?i:\b{re.escape(key)}\b)"],
}
"""The patterns of a key, by its table in the list."""


# ---------------------------------------------------------------- lines

FENCE = re.compile(r"^\s*(```|~~~)")
NO_PROSE = re.compile(r"^(\||#|    |\t|<|\[[^]]+\]: |!\[|:::|\s*$|---)")
ITEM = re.compile(r"^\s*([-*]|\d+\.)\s+")
LEAD = re.compile(r"^(\s*(?:[-*]|\d+\.)\s+)?\*\*[^*]*\*\* ")  # the bold lead of a paragraph
CODE = re.compile(r"`[^`]*`|\]\([^)]*\)|<[^>]*>")
ABBREVIATION = re.compile(r"\b(e\.g|i\.e|etc|cf|vs|approx|No)\.$")
NEXT_SENTENCE = re.compile(r"[.!?][\"')\]*_]*\s+(?=[\"'(\[*_]*[A-Z])")
ENDS = re.compile(r"[.!?:;…][\"')\]*_`]*$")


def sentences(text: str) -> Iterator[tuple[int, str]]:
    """Lines with more than one sentence, or with a part of one. Tables, code and headings are no prose."""
    lines = [(number, LEAD.sub(r"\1", line)) for number, line in prose(text)]
    for index, (number, line) in enumerate(lines):
        bare = CODE.sub(lambda match: "x" * len(match[0]), ITEM.sub("", line).strip())
        if second := next((match for match in NEXT_SENTENCE.finditer(bare) if ends_sentence(bare, match)), None):
            yield number, f"expected one sentence a line, got a second one at column {second.end() + 1}: break it there"
        goes_on = index + 1 < len(lines) and lines[index + 1][0] == number + 1 and not ITEM.match(lines[index + 1][1])
        if goes_on and not ENDS.search(bare):
            yield number, "expected a whole sentence on one line, got a part of one: join it with the next line"


def ends_sentence(line: str, match: re.Match[str]) -> bool:
    return not ABBREVIATION.search(line[: match.start() + 1])


def prose(text: str) -> list[tuple[int, str]]:
    """The lines of paragraphs and lists, with their numbers."""
    lines, fenced = [], False
    for number, line in enumerate(text.splitlines(), 1):
        if FENCE.match(line):
            fenced = not fenced
        elif not fenced and not NO_PROSE.match(line):
            lines.append((number, line))
    return lines


if __name__ == "__main__":
    main()
