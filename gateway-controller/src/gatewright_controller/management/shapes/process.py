"""The controller's process."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from gatewright_controller.management.shapes.answer import Answered

Level = Literal["debug", "info", "warning", "error"]


class Health(Answered, frozen=True):
    """Whether the process answers."""

    status: Literal["ok", "no database"]
    reason: str | UnsetType = UNSET
    """Why there is no database: the controller tries again and again."""


class LogLevel(Struct, frozen=True):
    """The lowest level that is logged."""

    level: Level
