"""What the shapes of answers have in common."""

from __future__ import annotations

from msgspec import Struct


class Answered(Struct, frozen=True, rename="camel", kw_only=True):
    """A part of an answer. A field without a default is always there."""
