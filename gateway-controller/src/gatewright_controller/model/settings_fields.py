"""The fields of a resource in their order, with the descriptions that they have in the model: for reference pages, and
for options and variables that set them by name."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from gatewright_documents.values import JsonValue
from msgspec import UNSET, Meta, UnsetType

Kind = Literal["value", "struct", "list", "map", "choice"]


class SettingsField(msgspec.Struct, frozen=True):
    """owner: the struct. path: as documents spell it, with "[]" for any item of a list and "NAME" for any key of a map.
    names: as Python does. kind: `value`, or what has fields of its own: a `struct`, a `list` or `map` of structs, or a
    `choice`, a struct that may be left out. default: UNSET where there is none. reached: whether nothing but structs is
    above it. is_text: whether it is text.
    """

    owner: str
    path: tuple[str, ...]
    names: tuple[str, ...]
    kind: Kind
    default: JsonValue | UnsetType
    required: bool
    reached: bool
    comment: str
    behind: str
    restart: bool
    is_text: bool


def settings_fields(
    struct: type[msgspec.Struct], path: tuple[str, ...] = (), names: tuple[str, ...] = (), reached: bool = True
) -> Iterator[SettingsField]:
    """In the order in which they are written down, those inside a field behind it."""
    hints = typing.get_type_hints(struct, include_extras=True)
    for field in msgspec.structs.fields(struct):
        hint = hints[field.name]
        kind, inner = _kind(hint)
        settings_field = _field(struct.__name__, field, hint, kind, path, names, reached)
        yield settings_field
        if inner is not None:
            steps = {"list": ("[]",), "map": ("NAME",)}.get(kind, ())
            yield from settings_fields(
                inner, settings_field.path + steps, settings_field.names, reached and kind == "struct"
            )


def _field(
    owner: str,
    field: msgspec.structs.FieldInfo,
    hint: Any,
    kind: Kind,
    path: tuple[str, ...],
    names: tuple[str, ...],
    reached: bool,
) -> SettingsField:
    metas = [meta for meta in get_args(hint)[1:] if isinstance(meta, Meta)]
    documented = next((meta for meta in metas if meta.description), Meta())
    extra = documented.extra_json_schema or {}
    return SettingsField(
        owner,
        (*path, field.encode_name),
        (*names, field.name),
        kind,
        _default(field),
        field.required,
        reached,
        documented.description or "",
        str(extra.get("x-behind", "")),
        bool(extra.get("x-restart", False)),
        _plain(hint) is str,
    )


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return msgspec.to_builtins(field.default_factory())
    return UNSET if field.default in (msgspec.NODEFAULT, UNSET) else field.default


def _plain(hint: Any) -> Any:
    """A type without what is said about it, and without UNSET."""
    if get_origin(hint) is Annotated:
        return _plain(get_args(hint)[0])
    if get_origin(hint) in (typing.Union, types.UnionType):
        return _plain(next(member for member in get_args(hint) if member is not UnsetType))
    if get_origin(hint) is Literal and all(isinstance(value, str) for value in get_args(hint)):
        return str
    return hint


def _kind(hint: Any) -> tuple[Kind, type[msgspec.Struct] | None]:
    plain = _plain(hint)
    if _is_struct(plain):
        chosen = get_origin(get_args(hint)[0]) in (typing.Union, types.UnionType)
        return ("choice" if chosen else "struct"), plain
    inside = _plain(get_args(plain)[-1]) if get_origin(plain) in (list, dict) else None
    if _is_struct(inside):
        return ("list" if get_origin(plain) is list else "map"), inside
    return "value", None


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)
