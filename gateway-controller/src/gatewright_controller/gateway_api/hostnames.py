"""Hostnames of listeners and routes: what two of them have in common, and which is the narrower. "" is every host."""

from __future__ import annotations

from collections.abc import Iterable


def covers(pattern: str, hostname: str) -> bool:
    """Whether all hosts of `hostname`, a name or a wildcard, are hosts of the pattern."""
    if not pattern or pattern == hostname:
        return True
    return bool(hostname) and pattern.startswith("*.") and hostname.removeprefix("*").endswith(pattern[1:])


def intersection(hostname: str, other: str) -> str | None:
    """The hosts that both mean: the narrower of the two; None where they have none in common."""
    if covers(hostname, other):
        return other
    return hostname if covers(other, hostname) else None


def common(listener: str, route: Iterable[str]) -> list[str]:
    """The hosts of a route on a listener; none where they have none in common. A route without hostnames has the
    listener's."""
    names = [name.lower() for name in route] or [""]
    found = (intersection(listener.lower(), name) for name in names)
    return list(dict.fromkeys(name for name in found if name is not None))


def patterns_of(hostname: str) -> list[str]:
    """All names and wildcards that have all hosts of this one, the narrowest first."""
    found, rest = [hostname], hostname.removeprefix("*.") if hostname else ""
    while rest:
        rest = rest.partition(".")[2]
        if rest:
            found.append(f"*.{rest}")
    return list(dict.fromkeys([*found, ""]))


def specificity(hostname: str) -> tuple[bool, int]:
    """Larger for the narrower one: a name before a wildcard, then the longer one."""
    return bool(hostname) and not hostname.startswith("*"), len(hostname)
