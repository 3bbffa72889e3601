"""Names of resources, made of any text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

LONGEST_NAME = 63


def slug(text: str) -> str:
    """The text in the characters that names may have; "" if it has none of them."""
    letters = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub("[^a-z0-9]+", "-", letters).strip("-")[:LONGEST_NAME].strip("-")


def unique(name: str, taken: Iterable[str]) -> str:
    """The name, with a number if it is taken."""
    known, number, found = set(taken), 1, name
    while found in known:
        number += 1
        ending = f"-{number}"
        found = name[: LONGEST_NAME - len(ending)].rstrip("-") + ending
    return found
