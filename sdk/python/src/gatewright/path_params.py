"""The parameters of an operation's path: which segments of a request's path `{id}` of `/orders/{id}` stands for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from urllib.parse import quote, unquote_to_bytes

_PARAMETER = re.compile(r"\{(.+)\}")


def parse_path_params(blob: bytes) -> Mapping[str, str]:
    """Names and decoded values, of `name NUL value NUL …` with values as they stand in the path. What is not UTF-8 is
    kept by surrogateescape; what is no encoding stays as it is."""
    parts = blob.split(b"\0")
    pairs = zip(parts[::2], parts[1::2], strict=False)
    return MappingProxyType({name.decode(): _decoded(value) for name, value in pairs})


def _decoded(value: bytes) -> str:
    return unquote_to_bytes(value).decode("utf-8", "surrogateescape")


def path_params_in(context: str, operation: str, path: str) -> dict[str, str]:
    """Those of an operation, `GET /{id}` or `GET /{id} [x-version=2]`, of an API with this context, in a path that it
    matches: decoded. The engine has the same rule in internal/chain/path_params.go."""
    return dict(_found(context, operation, path))


def _found(context: str, operation: str, path: str) -> Iterator[tuple[str, str]]:
    template = operation.partition(" ")[2].partition(" ")[0]
    first = context.rstrip("/").count("/")
    segments = path.removeprefix("/").split("/")[first:]
    for wanted, segment in zip(template.removeprefix("/").split("/"), segments, strict=False):
        if (parameter := _PARAMETER.fullmatch(wanted)) and segment:
            yield parameter[1], _decoded(segment.encode("utf-8", "surrogateescape"))


def encode_path_params(values: Mapping[str, str]) -> bytes:
    """The blob of values that are not encoded."""
    return "".join(
        f"{name}\0{quote(value, safe='', errors='surrogateescape')}\0" for name, value in values.items()
    ).encode()
