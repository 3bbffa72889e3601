"""Names whose values are secrets, compared. It imports nothing, so that a supervisor can have it."""

from __future__ import annotations

from collections.abc import Iterable

REDACTED = "[redacted]"
"""What stands where a secret was."""


def plain_name(name: str) -> str:
    """A name without what is spelled in different ways: access_token, accessToken and Access-Token are one."""
    return name.lower().replace("-", "").replace("_", "")


class SecretNameSet:
    """Names of a list, asked for in any spelling: `name in names`."""

    def __init__(self, listed: Iterable[str]) -> None:
        plain = [plain_name(name) for name in listed]
        self._exact = frozenset(plain)
        self._beginnings = tuple(name[:-1] for name in plain if name.endswith("*"))

    def __contains__(self, name: str) -> bool:
        plain = plain_name(name)
        return plain in self._exact or plain.startswith(self._beginnings)
