"""What of a request an operation matches besides method and path: one kind each, each `name` once in a list."""

from __future__ import annotations

from typing import Annotated

from gatewright_documents.strict import expecting
from msgspec import UNSET, Meta, UnsetType

from gatewright_controller.model.common import Strict

HeaderName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        extra_json_schema=expecting("a header's name: 1 to 64 letters, digits, '-', '_' and '.'"),
    ),
]
ParameterName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9._~-]{1,64}$",
        extra_json_schema=expecting("a parameter's name: 1 to 64 letters, digits, '-', '.', '_' and '~'"),
    ),
]
Whole = Annotated[str, Meta(max_length=256, extra_json_schema=expecting("a text of at most 256 characters"))]
Part = Annotated[str, Meta(min_length=1, max_length=256, extra_json_schema=expecting("a text of 1 to 256 characters"))]


class HeaderMatch(Strict, frozen=True):
    """A header that a request has, or has not. Of a header with several lines, one that fits is enough."""

    name: HeaderName
    """In any case; no pseudo-header, and none that the gateway sets by itself."""
    exact: Whole | UnsetType = UNSET
    prefix: Part | UnsetType = UNSET
    suffix: Part | UnsetType = UNSET
    contains: Part | UnsetType = UNSET
    regex: Part | UnsetType = UNSET
    """RE2, of the whole value."""
    present: bool | UnsetType = UNSET
    absent: bool | UnsetType = UNSET
    """Both are `true` where they stand."""
    ignore_case: bool = False
    """With `exact`, `prefix`, `suffix` and `contains`: letters are equal in both cases."""


class QueryMatch(Strict, frozen=True):
    """A query parameter that a request has, or has not."""

    name: ParameterName
    exact: Whole | UnsetType = UNSET
    """Decoded; in requests it may be encoded in any way."""
    prefix: Part | UnsetType = UNSET
    """As `exact`."""
    regex: Part | UnsetType = UNSET
    """RE2, of the whole value as the request has it: encoded."""
    present: bool | UnsetType = UNSET
    absent: bool | UnsetType = UNSET
