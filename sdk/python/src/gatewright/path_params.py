"""The parameters of an operation's path: the segments of a request's path that `{id}` of `/orders/{id}` matches."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from urllib.parse import quote, unquote_to_bytes

_PARAMETER = re.compile(r"\{(.+)\}")


def parse_path_params(blob: bytes) -> Mapping[str, str]:
    """Names and decoded values of a blob `name NUL value NUL …` with percent-encoded values. Bytes that are not UTF-8
    are kept by surrogateescape, an invalid encoding stays as it is."""
    parts = blob.split(b"\0")
    pairs = zip(parts[::2], parts[1::2], strict=False)
    return MappingProxyType({name.decode(): _decoded(value) for name, value in pairs})


def _decoded(value: bytes) -> str:
    return unquote_to_bytes(value).decode("utf-8", "surrogateescape")


def path_params_in(context: str, operation: str, path: str) -> dict[str, str]:
    """The decoded parameters of a path that matches an operation, `GET /{id}` or `GET /{id} [x-version=2]`, of an API
    with this context. The engine has the same rule in internal/chain/path_params.go."""
    return dict(_match_segments(context, operation, path))


def _match_segments(context: str, operation: str, path: str) -> Iterator[tuple[str, str]]:
    template = operation.partition(" ")[2].partition(" ")[0]
    first = context.rstrip("/").count("/")
    segments = path.removeprefix("/").split("/")[first:]
    for pattern, segment in zip(template.removeprefix("/").split("/"), segments, strict=False):
        if (parameter := _PARAMETER.fullmatch(pattern)) and segment:
            yield parameter[1], _decoded(segment.encode("utf-8", "surrogateescape"))


def encode_path_params(values: Mapping[str, str]) -> bytes:
    """The blob that parse_path_params reads, of values that are not encoded yet."""
    return "".join(
        f"{name}\0{quote(value, safe='', errors='surrogateescape')}\0" for name, value in values.items()
    ).encode()
