"""Durations, sizes, times and labels as people write them on a command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import click

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
BYTES = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
AMOUNT = re.compile(r"(\d+(?:\.\d+)?)([a-zA-Z]*)")


class Amount(click.ParamType[float]):
    """A number with one of the units; the value is in the unit that counts as 1."""

    def __init__(self, name: str, units: dict[str, float], example: str) -> None:
        self.name, self._units, self._example = name, units, example

    def convert(self, value: object, param: click.Parameter | None, context: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        match = AMOUNT.fullmatch(str(value).strip())
        if match is None or match[2] not in self._units:
            units = ", ".join(unit for unit in self._units if unit)
            self.fail(f"expected a number and one of {units}, such as {self._example}, got {value!r}", param, context)
        return float(match[1]) * self._units[match[2]]


class Uids(click.ParamType[tuple[int, int]]):
    """A range of users, FIRST-LAST; root is not among them."""

    name = "uids"

    def convert(self, value: object, param: click.Parameter | None, context: click.Context | None) -> tuple[int, int]:
        match = re.fullmatch(r"(\d{1,9})-(\d{1,9})", str(value).strip())
        if match is None or not 0 < int(match[1]) <= int(match[2]):
            self.fail(f"expected the first and the last uid, such as 61184-65519, got {value!r}", param, context)
        return int(match[1]), int(match[2])


class Since(click.ParamType[str]):
    """A time, or a duration before now; the value is a time by RFC 3339."""

    name = "since"

    def convert(self, value: object, param: click.Parameter | None, context: click.Context | None) -> str:
        text = str(value).strip()
        try:
            if AMOUNT.fullmatch(text):
                return (datetime.now(UTC) - timedelta(seconds=DURATION.convert(text, param, context))).isoformat()
            time = datetime.fromisoformat(text)
        except (click.BadParameter, OverflowError, ValueError):
            time = None
        if time is None or time.tzinfo is None:
            example = "a duration such as 2h, or a time such as 2026-11-30T08:00:00Z"
            self.fail(f"expected {example}, got {value!r}", param, context)
        return time.isoformat()


class Label(click.ParamType[tuple[str, str]]):
    """A key and its value, KEY=VALUE."""

    name = "label"

    def convert(self, value: object, param: click.Parameter | None, context: click.Context | None) -> tuple[str, str]:
        key, equals, text = str(value).partition("=")
        if not key or not equals:
            self.fail(f"expected KEY=VALUE, such as team=payments, got {value!r}", param, context)
        return key, text


UIDS = Uids()
SINCE = Since()
LABEL = Label()
DURATION = Amount("duration", SECONDS, "24h")
SIZE = Amount("size", {unit: float(size) for unit, size in BYTES.items()}, "512MiB")
