"""What stands about a struct's fields in its source: strings below its attributes, which no running program has."""

from __future__ import annotations

import ast
import inspect
import textwrap

import msgspec


def field_docs(kind: type) -> dict[str, str]:
    """By the names of the attributes, also of those that the structs have which it is made from."""
    base = kind.__mro__[1]
    said = field_docs(base) if issubclass(base, msgspec.Struct) and base is not msgspec.Struct else {}
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    for attribute, below in zip(tree.body, tree.body[1:], strict=False):
        match attribute, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                said[name] = text
    return said
