"""Regular expressions that publishers write: RE2, as Envoy has it, checked and bounded before anything runs them.

The one place that touches RE2's bindings, which have no types.
"""

from __future__ import annotations

import functools
from typing import Any

import re2

LARGEST_PROGRAM = 500
"""Instructions of RE2's program: a count such as `{200}` makes many from few characters."""


class RegexError(ValueError):
    """The message says what was expected and what came."""


def check_regex(pattern: str) -> None:
    """Raises `RegexError` unless RE2 takes the pattern, and its program is of a bounded size."""
    try:
        compiled = _compiled(pattern)
    except re2.error as error:
        reason = error.args[0]
        text = reason.decode() if isinstance(reason, bytes) else reason
        raise RegexError(f"expected RE2 syntax, got {pattern!r}: {text}") from None
    if compiled.programsize > LARGEST_PROGRAM:
        expected = f"expected a regular expression of at most {LARGEST_PROGRAM} instructions"
        raise RegexError(f"{expected}, got {pattern!r} with {compiled.programsize}; write it with smaller counts")


def matches_whole(pattern: str, text: str) -> bool:
    """Whether all of the text matches, as Envoy has it; what is no regular expression matches nothing."""
    try:
        return _compiled(pattern).fullmatch(text) is not None
    except re2.error:
        return False


@functools.lru_cache(maxsize=1024)
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False  # RegexError reports the mistake to the publisher
    return re2.compile(pattern, options)
