"""What stands about a struct's fields in its source: strings below its attributes, which no running program has."""

from __future__ import annotations

import ast
import inspect
import sys
from functools import cache

import msgspec


def field_docs(kind: type) -> dict[str, str]:
    """By the names of the attributes, also of those that the structs have which it is made from.

    kind: defined at the top level of its module, or made at run time: then those that it is made from say all.
    """
    base = kind.__mro__[1]
    inherited = field_docs(base) if issubclass(base, msgspec.Struct) and base is not msgspec.Struct else {}
    return inherited | _docs_by_class(kind.__module__).get(kind.__name__, {})


@cache
def _docs_by_class(module: str) -> dict[str, dict[str, str]]:
    """By the names of the module's classes. Parsing a module costs some ms, and most have many structs."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: _docs_of(node) for node in tree.body if isinstance(node, ast.ClassDef)}


def _docs_of(tree: ast.ClassDef) -> dict[str, str]:
    docs = {}
    for attribute, below in zip(tree.body, tree.body[1:], strict=False):
        match attribute, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                docs[name] = text
    return docs
