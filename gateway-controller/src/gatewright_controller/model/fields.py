"""The fields of structs, which msgspec works out from annotations at each question."""

from __future__ import annotations

from functools import cache

import msgspec


@cache
def fields_of(struct: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """As `msgspec.structs.fields`, of a type."""
    return msgspec.structs.fields(struct)
