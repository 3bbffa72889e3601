"""The documentation as tests read it: blocks of code, commands, names of files and tests."""

from __future__ import annotations

import functools
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from e2e.kit.places import ROOT

PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "bench" / "README.md", *ROOT.glob("changes/*.md")]
)
GO_TESTS = ROOT / "gateway-runtime" / "policy-engine"


@functools.cache
def repository_files() -> tuple[Path, ...]:
    """The files that git tracks, relative to the root, without what runs, builds and tools leave beside them."""
    result = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return tuple(Path(name) for name in result.stdout.split("\0") if name)


def page(name: str) -> str:
    return (ROOT / name).read_text()


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def section(text: str, heading: str) -> str:
    """The text below a heading of the second level, up to the next one."""
    (body,) = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return str(body)


def commands(text: str, program: str) -> Iterator[str]:
    """The commands of a program, in blocks of code and between backticks, without a comment behind them."""
    for match in re.finditer(rf"(?:^    |`)({program}(?: [^`\n]*)?)", text, re.MULTILINE):
        yield re.split(r"   +| #", match[1])[0].strip()


def inline(text: str) -> list[str]:
    """The texts between backticks, blocks of code left out."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))


def links(text: str) -> list[str]:
    """The targets of links into the repository."""
    targets = re.findall(r"\]\(([^)#\s]+)", text)
    return [target for target in targets if "://" not in target]


def named_tests(text: str) -> Iterator[tuple[str, str]]:
    """(file, test) of each test that is named after its file, as `file` `test`, `test`."""
    file = ""
    for token in inline(text):
        if re.fullmatch(r"[\w/-]*test\w*\.(py|go)|[\w/-]+_test\.go", token):
            file = token
        elif re.fullmatch(r"(test_|Test)\w+", token):
            yield file, token
