"""Finds names and words in code that do not say what they are about: a variable `one`, a function `_told`, "whoever".

Python is read by its syntax tree and its tokens. Go and JavaScript are read by patterns, line by line.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

Finding = tuple[int, str]
"""The number of a line, and the mistake in it."""


@dataclass(frozen=True)
class CodeRules:
    """The tables of words.toml: for each word, the cure."""

    variables: dict[str, str]
    functions: dict[str, str]
    comments: dict[str, str]

    @classmethod
    def of(cls, tables: dict[str, dict[str, str]]) -> CodeRules:
        return cls(*(by_word(tables.get(kind, {})) for kind in ("variables", "functions", "comments")))

    def findings(self, suffix: str, text: str) -> list[Finding]:
        """Mistakes in a file of code, in the order of its lines."""
        reader = READERS.get(suffix)
        return sorted(set(reader(self, text))) if reader else []

    def has_comment_word(self, text: str) -> bool:
        """Whether a word of comments is anywhere in the text; most files have none, and need not be read by tokens."""
        lowered = text.lower()
        return any(word in lowered for word in self.comments)

    def in_comment(self, line: int, text: str) -> Iterator[Finding]:
        for offset, part in enumerate(text.splitlines()):
            for word in re.findall(r"[a-z]+", part.lower()):
                if word in self.comments:
                    yield line + offset, f"{word!r} in a comment: {self.comments[word]}"

    def in_variable(self, line: int, name: str) -> Iterator[Finding]:
        if name in self.variables:
            yield line, f"a variable {name!r}: {self.variables[name]}"

    def in_function(self, line: int, name: str) -> Iterator[Finding]:
        if name in self.functions:
            yield line, f"a function {name!r}: {self.functions[name]}"


def by_word(table: dict[str, str]) -> dict[str, str]:
    """A key may hold several words: "one each" = "…"."""
    return {word: cure for words, cure in table.items() for word in words.split()}


# ---------------------------------------------------------------- Python


def in_python(rules: CodeRules, text: str) -> Iterator[Finding]:
    try:
        tree = ast.parse(text)
    except SyntaxError:  # a test's bad input; of other files the linter reports it
        return
    for node in ast.walk(tree):
        for line, name in variables_of(node):
            yield from rules.in_variable(line, name)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from rules.in_function(node.lineno, node.name)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield from rules.in_comment(node.lineno, node.value.value)
    tokens = tokenize.generate_tokens(io.StringIO(text).readline) if rules.has_comment_word(text) else ()
    for token in tokens:
        if token.type == tokenize.COMMENT:
            yield from rules.in_comment(token.start[0], token.string)


def variables_of(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Names that a node binds: by an assignment, a loop, `with`, `except`, a pattern, or as a parameter."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.lineno, node.id
    elif isinstance(node, ast.arg):
        yield node.lineno, node.arg
    elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
        yield node.lineno, node.name


# ---------------------------------------------------------------- Go and JavaScript

GO_VARIABLE = re.compile(
    r"""(?P<bound>(?:\w+,\s*)*\w+)\s*:=             # a, b := …, for a, b := range …
    |   ^\s*var\s+(?P<var>(?:\w+,\s*)*\w+)\b        # var a, b int
    |   [(,]\s*(?P<param>\w+)\s+(?:\*|\[|func\b|map\b|\.\.\.|[\w.]+\s*[,)])   # f(a int, b *T)
    """,
    re.VERBOSE,
)
GO_FUNCTION = re.compile(r"^func\s+(?:\([^)]*\)\s*)?(?P<name>\w+)\s*[\[(]")
JS_VARIABLE = re.compile(
    r"""\b(?:const|let|var)\s+(?P<bound>\w+|[\[{][^=]*[\]}])\s*(?:=|of\b|in\b|;)   # const a = …, const [a, b] of …
    |   (?P<arrow>\w+)\s*=>                                                        # a => …
    |   \((?P<params>[^()]*)\)\s*(?:=>|\{)                                         # (a, b) => …, f(a, b) {
    """,
    re.VERBOSE,
)
JS_FUNCTION = re.compile(
    r"^\s*(?:export\s+)?(?:(?:async\s+)?function\*?\s+|(?:static\s+|async\s+)*)(?P<name>#?\w+)\s*\(.*\{$"
)
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
TEXT = re.compile(r'"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`|\'(?:\\.|[^\'\\\n])*\'')


def in_go(rules: CodeRules, text: str) -> Iterator[Finding]:
    yield from in_lines(rules, text, GO_VARIABLE, GO_FUNCTION)


def in_javascript(rules: CodeRules, text: str) -> Iterator[Finding]:
    yield from in_lines(rules, text, JS_VARIABLE, JS_FUNCTION)


def in_lines(rules: CodeRules, text: str, variable: re.Pattern[str], function: re.Pattern[str]) -> Iterator[Finding]:
    """By patterns: of comments the words, and of the rest, without its texts, the names."""
    bare = TEXT.sub(blank, text)
    for comment in COMMENT.finditer(bare):
        start = bare.count("\n", 0, comment.start()) + 1
        yield from rules.in_comment(start, text[comment.start() : comment.end()])
    for number, line in enumerate(COMMENT.sub(blank, bare).splitlines(), 1):
        for binding in variable.finditer(line):
            for name in re.findall(r"\w+", " ".join(filter(None, binding.groups()))):
                yield from rules.in_variable(number, name)
        if definition := function.match(line):
            yield from rules.in_function(number, f"_{definition['name'].lstrip('#_')}")


def blank(match: re.Match[str]) -> str:
    """As long as the match, with its ends of lines."""
    return re.sub(r"[^\n]", " ", match[0])


READERS: dict[str, Callable[[CodeRules, str], Iterable[Finding]]] = {
    ".py": in_python, ".pyi": in_python, ".go": in_go, ".js": in_javascript,
}  # fmt: skip
