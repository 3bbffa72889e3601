"""Maps the files that the executor runs, which are copies, to the names of their authors' files.

…/policies/IDENTIFIER/FILE is a copy; the generated registry has the source folder of each identifier.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_COPY = re.compile(r"^.*/policies/(\w+)/")
_sources: dict[str, str] = {}


def learn(sources: Mapping[str, str]) -> None:
    """Sets the source folders, as build.yaml names them, by IDENTIFIER. Once, before the first policy is imported."""
    _sources.clear()
    _sources.update(sources)


def is_authors(file: str) -> bool:
    """Whether the file is a policy's, and not the executor's, the SDK's or a package's."""
    match = _COPY.match(file)
    return match is not None and match[1] in _sources


def shown(file: str) -> str:
    """The file's name in messages: for a copy the name of the author's file, else the path itself."""
    match = _COPY.match(file)
    if match is None or match[1] not in _sources:
        return file
    return f"{_sources[match[1]]}/{file[match.end() :]}"
