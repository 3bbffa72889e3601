"""Python's bytecode of the executor itself, beside its sources: each start of an executor would else compile them all.

As an import reads it: where a source has changed since, it is compiled again (PEP 552, checked hashes). Policies have
none: there are few of them, and what the compiler says of one (SyntaxWarning) is said when it is loaded.
"""

from __future__ import annotations

import importlib.util
import marshal
import sys
from collections.abc import Iterator
from pathlib import PurePosixPath

from gatewright_builder.tree import Tree

CHECKED_HASH = 0b11
WITHOUT_REFERENCES = 2  # of marshal's versions: later ones show how often this process uses an object
POLICIES = "policies"


def compile_modules(sources: Tree, before: Tree) -> Tree:
    """The bytecode of the modules that a build's python-executor/ has beside the policies. Same input, same bytes.

    before: an earlier tree that is known to be right, {} for none: what it has is not made again.
    """
    return dict(_compiled(sources, before))


def _compiled(sources: Tree, before: Tree) -> Iterator[tuple[str, bytes]]:
    for path, source in sources.items():
        place = PurePosixPath(path)
        if place.suffix != ".py" or place.parts[0] == POLICIES:
            continue
        cached = str(place.with_name("__pycache__") / f"{place.stem}.{sys.implementation.cache_tag}.pyc")
        is_there = before.get(path) == source and cached in before
        yield cached, before[cached] if is_there else _bytecode(path, source)


def _bytecode(path: str, source: bytes) -> bytes:
    """An import puts the file's place in for the path."""
    code = compile(source, path, "exec", dont_inherit=True)
    header = importlib.util.MAGIC_NUMBER + CHECKED_HASH.to_bytes(4, "little") + importlib.util.source_hash(source)
    return header + marshal.dumps(code, WITHOUT_REFERENCES)
