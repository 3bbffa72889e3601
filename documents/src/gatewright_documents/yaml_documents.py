"""The documents of one YAML file, which may have several, each with its place."""

from __future__ import annotations

import re
from itertools import pairwise

SEPARATOR = re.compile(rb"^---(?=\s|$)", re.MULTILINE)
EMPTY = re.compile(rb"(?:---(?=\s|$))?(?:\s|#[^\n]*(?:\n|\Z)|\.\.\.(?=\s|$))*")


def split_documents(content: bytes) -> list[tuple[int, bytes]]:
    """The documents, each with the number of lines above it; the whole content if there is only one.

    No scalar may have a line that begins with `---` (YAML 1.2, 9.1.2). Documents with only comments are left out.
    """
    cuts = [0, *(match.start() for match in SEPARATOR.finditer(content)), len(content)]
    parts = [(content.count(b"\n", 0, begin), content[begin:end]) for begin, end in pairwise(cuts)]
    filled = [(above, part) for above, part in parts if not EMPTY.fullmatch(part)]
    return filled if len(filled) > 1 else [(0, content)]
