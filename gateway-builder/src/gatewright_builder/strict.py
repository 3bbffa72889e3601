"""Strict decoding that finds all mistakes of a document: msgspec, which stops at the first, asked field by field."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, TypeVar, get_args, get_origin

import msgspec

from gatewright_builder.document import Document, KeyPath
from gatewright_builder.mistake import Mistake
from gatewright_builder.redaction import redacted

S = TypeVar("S", bound=msgspec.Struct)


def describe(expected: str, cure: str, pattern: str | None = None) -> msgspec.Meta:
    """What a field wants, in words: used in its mistakes."""
    return msgspec.Meta(description=expected, pattern=pattern, extra={"cure": cure})


def decode(kind: type[S], document: Document, value: object, path: KeyPath = ()) -> S | list[Mistake]:
    """The struct that value, found at path of document, describes; or all that is wrong with it.

    Every field of kind is Annotated with describe(…). A field whose type is a struct is decoded by the same rules.
    """
    if not isinstance(value, dict):
        known = ", ".join(field.encode_name for field in msgspec.structs.fields(kind))
        return [document.mistake(path, f"{_name(path)}a mapping with {known}", shown(value), "write its keys")]
    mistakes = list(_unknown_keys(kind, document, value, path))
    fields: dict[str, object] = {}
    for field in msgspec.structs.fields(kind):
        match _decode_field(field, document, value, path):
            case list() as wrong:
                mistakes += wrong
            case (decoded,):
                fields[field.name] = decoded
    return mistakes or kind(**fields)


def shown(value: object) -> str:
    """A value as the reader of a mistake sees it: JSON, cut at 60 characters."""
    text = redacted(json.dumps(value, ensure_ascii=False))  # before a cut could hide what a password looks like
    return text if len(text) <= 60 else text[:57] + "..."


def _decode_field(
    field: msgspec.structs.FieldInfo, document: Document, value: dict[str, object], path: KeyPath
) -> list[Mistake] | tuple[object] | None:
    at = (*path, field.encode_name)
    kind, meta = _annotation(field.type)
    if field.encode_name not in value:
        missing = document.mistake(path, f"{_name(at)}{meta.description}", "nothing", (meta.extra or {})["cure"])
        return [missing] if field.required else None
    raw = value[field.encode_name]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        inner = decode(kind, document, raw, at)
        return inner if isinstance(inner, list) else (inner,)
    try:
        return (msgspec.convert(raw, field.type),)
    except msgspec.ValidationError:
        return [document.mistake(at, f"{_name(at)}{meta.description}", shown(raw), (meta.extra or {})["cure"])]


def _annotation(kind: object) -> tuple[object, msgspec.Meta]:
    assert get_origin(kind) is Annotated, f"{kind} has no describe(…)"
    inner, *metas = get_args(kind)
    return inner, next(meta for meta in metas if isinstance(meta, msgspec.Meta))


def _unknown_keys(
    kind: type[msgspec.Struct], document: Document, value: dict[str, object], path: KeyPath
) -> Iterator[Mistake]:
    known = [field.encode_name for field in msgspec.structs.fields(kind)]
    for key in value:
        if key not in known:
            at = (*path, key)
            yield document.mistake(at, f"{_name(path)}one of {', '.join(known)}", key, "remove it or mend its name")


def _name(path: KeyPath) -> str:
    return ".".join(map(str, path)) + ": " if path else ""
