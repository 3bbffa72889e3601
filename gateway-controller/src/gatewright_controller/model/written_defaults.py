"""Defaults that a document writes out: a resource is kept, compared and shown as if they were not written."""

from __future__ import annotations

from functools import cache
from typing import TypeVar, cast

import msgspec

from gatewright_controller.model.fields import fields_of

SCALARS = (str, int, float, msgspec.UnsetType, type(None))
"""What holds no structs."""
S = TypeVar("S", bound=msgspec.Struct)


def without_written_defaults(struct: S) -> S:
    """The same values, with structs that are equal to a field's default left out of its document.

    `omit_defaults` leaves out what is the default itself, and a struct that was read never is.
    """
    return cast("S", _plain(struct))


def _plain(value: object) -> object:
    if isinstance(value, SCALARS):
        return value
    if isinstance(value, msgspec.Struct):
        changed: dict[str, object] = {}
        for name, default in _defaults_of(type(value)):
            old = getattr(value, name)
            if not isinstance(old, SCALARS) and (new := _of_field(old, default)) is not old:
                changed[name] = new
        return msgspec.structs.replace(value, **changed) if changed else value
    if isinstance(value, list) and any(isinstance(item, msgspec.Struct) for item in value):
        return [_plain(item) for item in value]
    if isinstance(value, dict) and any(isinstance(item, msgspec.Struct) for item in value.values()):
        return {key: _plain(item) for key, item in value.items()}
    return value


@cache
def _defaults_of(struct: type[msgspec.Struct]) -> list[tuple[str, object]]:
    """The fields, each with its default."""
    return [(field.name, field.default) for field in fields_of(struct)]


def _of_field(value: object, default: object) -> object:
    return default if isinstance(default, msgspec.Struct) and value == default else _plain(value)
