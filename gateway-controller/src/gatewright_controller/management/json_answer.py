"""A response that holds one of the shapes, as JSON."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from starlette.responses import Response

from gatewright_controller.management.rows import JSON

T = TypeVar("T")


class JsonAnswer(Response):
    """content: a struct, or plain values with structs in them."""

    media_type = JSON

    def render(self, content: Any) -> bytes:
        """As bytes, without spaces."""
        return msgspec.json.encode(content)


def shaped(shape: type[T], value: object) -> T:
    """The shape of a value that has its fields as attributes."""
    return msgspec.convert(value, shape, from_attributes=True)
