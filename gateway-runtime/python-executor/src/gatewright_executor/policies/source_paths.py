"""Which files are the policies' own, and what their authors call them: the executor runs copies.

…/policies/IDENTIFIER/FILE is a copy; the generated registry says from where each identifier was copied.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_COPY = re.compile(r"^.*/policies/(\w+)/")
_sources: dict[str, str] = {}


def learn(sources: Mapping[str, str]) -> None:
    """From IDENTIFIER to the policy's folder as build.yaml names it: once, before the first policy is imported."""
    _sources.clear()
    _sources.update(sources)


def is_authors(file: str) -> bool:
    """Whether it is a file of a policy, and not of the executor, the SDK or a package."""
    found = _COPY.match(file)
    return found is not None and found[1] in _sources


def shown(file: str) -> str:
    """The file's name in messages: that of the author's own file where it is a copy, else the path as it is."""
    found = _COPY.match(file)
    if found is None or found[1] not in _sources:
        return file
    return f"{_sources[found[1]]}/{file[found.end() :]}"
