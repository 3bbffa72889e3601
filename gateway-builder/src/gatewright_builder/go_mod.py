"""A go.mod, read: its directives one by one (https://go.dev/ref/mod#go-mod-file-grammar)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

GO_MOD, GO_SUM = "go.mod", "go.sum"
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|`[^`]*`|//.*|[()]|(?:(?!//)[^\s()"`])+')
QUOTES = '"`'


@dataclass(frozen=True, slots=True)
class Directive:
    """One directive: `require`, ("example.com/lib", "v1.2.0"), and its line, counted from 1."""

    verb: str
    words: tuple[str, ...]
    line: int

    def __str__(self) -> str:
        return " ".join((self.verb, *self.words))


def read_go_mod(content: bytes) -> tuple[Directive, ...]:
    """All directives in their order, those of a block each on its own. What is no directive at all is one with that
    verb: the caller knows which there are.
    """
    return tuple(_directives(content.decode(errors="replace")))


def _directives(text: str) -> Iterator[Directive]:
    block = ""
    for number, line in enumerate(text.split("\n"), 1):
        words = [_unquoted(word) for word in TOKEN.findall(line) if not word.startswith("//")]
        if block and words == [")"]:
            block = ""
        elif block and words:
            yield Directive(block, tuple(words), number)
        elif len(words) == 2 and words[1] == "(":
            block = words[0]
        elif words:
            yield Directive(words[0], tuple(words[1:]), number)


def _unquoted(word: str) -> str:
    return word[1:-1] if len(word) > 1 and word[0] in QUOTES else word


def module_of(directives: tuple[Directive, ...]) -> str:
    """The module's own path; "" where it names none."""
    return next(
        (directive.words[0] for directive in directives if directive.verb == "module" and len(directive.words) == 1), ""
    )


def go_of(directives: tuple[Directive, ...]) -> str:
    """The Go version that it asks for; "" where it names none."""
    return next(
        (directive.words[0] for directive in directives if directive.verb == "go" and len(directive.words) == 1), ""
    )


def required(directives: tuple[Directive, ...]) -> dict[str, str]:
    """The versions that it asks for, by module."""
    return {
        directive.words[0]: directive.words[1]
        for directive in directives
        if directive.verb == "require" and len(directive.words) == 2
    }


def written(module: str, go: str, requires: dict[str, str]) -> bytes:
    """A go.mod with these and nothing else."""
    lines = [f"module {module}", *(["", f"go {go}"] if go else [])]
    asked = [f"{path} {version}" for path, version in requires.items()]
    if len(asked) == 1:
        lines += ["", f"require {asked[0]}"]
    elif asked:
        lines += ["", "require (", *(f"\t{requirement}" for requirement in asked), ")"]
    return ("\n".join(lines) + "\n").encode()


def version_order(version: str) -> tuple[object, ...]:
    """What versions are compared by (https://semver.org, 11): v1.10.0 comes after v1.9.0, v1.0.0 after v1.0.0-rc.1."""
    core, _, before = version.removeprefix("v").partition("+")[0].partition("-")
    parts = [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in before.split(".")] if before else []
    return ([int(part) if part.isdigit() else 0 for part in core.split(".")], not before, parts)
