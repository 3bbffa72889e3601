"""Texts as literals of CEL and of regular expressions."""

from __future__ import annotations

import json
from collections.abc import Iterable


def cel_text(text: str) -> str:
    """The text as a literal of CEL."""
    return json.dumps(text, ensure_ascii=False)


def cel_list(texts: Iterable[str]) -> str:
    """The texts as a list of CEL."""
    return f"[{', '.join(map(cel_text, texts))}]"


def escape_regex(text: str) -> str:
    """The text as a regular expression of RE2."""
    return "".join(character if character.isalnum() or character in "-_/ " else f"\\{character}" for character in text)
