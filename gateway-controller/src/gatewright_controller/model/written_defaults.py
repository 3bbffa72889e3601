"""Defaults that a document writes out: a resource is kept, compared and shown as if they were not written."""

from __future__ import annotations

from typing import TypeVar, cast

import msgspec

from gatewright_controller.model.fields import fields_of

S = TypeVar("S", bound=msgspec.Struct)


def without_written_defaults(struct: S) -> S:
    """The same values, with structs that are equal to a field's default left out of its document.

    `omit_defaults` leaves out what is the default itself, and a struct that was read never is.
    """
    return cast("S", _plain(struct))


def _plain(value: object) -> object:
    if isinstance(value, msgspec.Struct):
        fields = ((field, getattr(value, field.name)) for field in fields_of(type(value)))
        plain = {field.name: (old, _of_field(old, field.default)) for field, old in fields}
        changed = {name: new for name, (old, new) in plain.items() if new is not old}
        return msgspec.structs.replace(value, **changed) if changed else value
    if isinstance(value, list) and any(isinstance(item, msgspec.Struct) for item in value):
        return [_plain(item) for item in value]
    if isinstance(value, dict) and any(isinstance(item, msgspec.Struct) for item in value.values()):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _of_field(value: object, default: object) -> object:
    return default if isinstance(default, msgspec.Struct) and value == default else _plain(value)
