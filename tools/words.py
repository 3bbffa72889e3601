"""Checks words and lines: nothing says a word of tools/words.toml, and a line of Markdown holds one sentence.

    python tools/words.py [FILE…]        (default: all that git knows of)

Decisions and the changelog are history, and say what was said then.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

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
    says: str

    def __str__(self) -> str:
        return f"  {self.file}:{self.line}: {self.says}"


def main() -> None:
    retired = Retired(tomllib.loads(LIST.read_text()))
    mistakes = [
        mistake for name in sys.argv[1:] or tracked() for mistake in mistakes_of(name.removeprefix("./"), retired)
    ]
    if mistakes:
        raise SystemExit("\n".join(["words: failed", *map(str, mistakes)]))


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if name]


def mistakes_of(name: str, retired: Retired) -> Iterator[Mistake]:
    path = ROOT / name
    if HISTORY.search(name) or NOT_OURS.search(name) or not path.is_file():
        return
    yield from (Mistake(name, 0, f"in its name: {said}") for _, said in retired.in_text(name))
    if path.suffix not in SUFFIXES and path.name not in NAMES:
        return
    text = path.read_text()
    yield from (Mistake(name, number, said) for number, said in retired.in_text(text))
    if path.suffix == ".md":
        yield from (Mistake(name, number, said) for number, said in sentences(text))


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
        """Numbers of lines, and what they say and should say."""
        lowered = text.lower()
        letters = [each for each in self._letters if each in lowered]
        if not letters:
            return
        for number, line in enumerate(text.splitlines(), 1):
            low = line.lower()
            if any(each in low for each in letters):
                for found in self._pattern.finditer(line):
                    assert found.lastindex
                    yield number, f"{found[0]!r} is not said here any more; say: {self._say[found.lastindex - 1]}"


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
"""By the tables of the list: patterns of what each finds."""


# ---------------------------------------------------------------- lines

FENCE = re.compile(r"^\s*(```|~~~)")
NO_PROSE = re.compile(r"^(\||#|    |\t|<|\[[^]]+\]: |!\[|:::|\s*$|---)")
ITEM = re.compile(r"^\s*([-*]|\d+\.)\s+")
LEAD = re.compile(r"^(\s*(?:[-*]|\d+\.)\s+)?\*\*[^*]*\*\* ")  # what a paragraph is about, in bold
CODE = re.compile(r"`[^`]*`|\]\([^)]*\)|<[^>]*>")
ABBREVIATION = re.compile(r"\b(e\.g|i\.e|etc|cf|vs|approx|No)\.$")
NEXT_SENTENCE = re.compile(r"[.!?][\"')\]*_]*\s+(?=[\"'(\[*_]*[A-Z])")
ENDS = re.compile(r"[.!?:;…][\"')\]*_`]*$")


def sentences(text: str) -> Iterator[tuple[int, str]]:
    """Lines with more than one sentence, or with less than one. Tables, code and headings are no prose."""
    lines = [(number, LEAD.sub(r"\1", line)) for number, line in prose(text)]
    for index, (number, line) in enumerate(lines):
        bare = CODE.sub(lambda found: "x" * len(found[0]), ITEM.sub("", line).strip())
        if second := next((each for each in NEXT_SENTENCE.finditer(bare) if one_ends(bare, each)), None):
            yield number, f"expected one sentence a line, got a second one at column {second.end() + 1}: break it there"
        goes_on = index + 1 < len(lines) and lines[index + 1][0] == number + 1 and not ITEM.match(lines[index + 1][1])
        if goes_on and not ENDS.search(bare):
            yield number, "expected a whole sentence on one line, got a part of one: join it with the next line"


def one_ends(line: str, found: re.Match[str]) -> bool:
    return not ABBREVIATION.search(line[: found.start() + 1])


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
