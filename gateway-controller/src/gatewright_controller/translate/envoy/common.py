"""What all of Envoy's messages are made with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, cast

from envoy.config.core.v3 import base_pb2
from envoy.type.matcher.v3 import regex_pb2
from google.protobuf import any_pb2, duration_pb2, message, struct_pb2

PARTS_KEPT = 1000
"""Parts of messages of each kind that many APIs have in common."""


class EnvoyMessage(Protocol):
    """What is done with a finished message: it is put into another one, or serialized."""

    def SerializeToString(self, *, deterministic: bool) -> bytes: ...  # noqa: N802 - protobuf's name


def serialized(built: EnvoyMessage) -> bytes:
    """The same bytes for the same message, in this version of protobuf."""
    return built.SerializeToString(deterministic=True)


def packed_any(built: EnvoyMessage) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(cast("message.Message", built), deterministic=True)
    return packed


def duration(milliseconds: int) -> duration_pb2.Duration:
    return duration_pb2.Duration(seconds=milliseconds // 1000, nanos=milliseconds % 1000 * 1_000_000)


def regex(pattern: str) -> EnvoyMessage:
    return cast("EnvoyMessage", regex_pb2.RegexMatcher(regex=pattern))


def struct(values: Mapping[str, str]) -> struct_pb2.Struct:
    built = struct_pb2.Struct()
    built.update(dict(values))
    return built


def header(name: str, value: str) -> EnvoyMessage:
    option = base_pb2.HeaderValueOption(
        header=base_pb2.HeaderValue(key=name, value=value),
        append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )
    return cast("EnvoyMessage", option)
