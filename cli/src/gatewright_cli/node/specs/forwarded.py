"""Options to forward to a process of the node: `--py.workers 8`, `--pe.x=y`, `--envoy.concurrency 2`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

Flags = dict[str, str | None]
TARGETS = {"py": "the executors", "pe": "the policy engine", "envoy": "Envoy"}


@dataclass(frozen=True)
class Forwarded:
    """By target: option name without dashes → value; None for an option without a value."""

    py: Flags = field(default_factory=dict)
    pe: Flags = field(default_factory=dict)
    envoy: Flags = field(default_factory=dict)


class ForwardedError(Exception):
    """Unknown options; `mistakes` has one sentence for each."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


def parse(arguments: Iterable[str]) -> Forwarded:
    """Parses the rest of a command line. An option followed by another one, or by nothing, has no value."""
    flags: dict[str, Flags] = {target: {} for target in TARGETS}
    mistakes = []
    for option, value in _pairs(list(arguments)):
        target, _, name = option.removeprefix("--").partition(".")
        if not option.startswith("--"):
            mistakes.append(f"unexpected argument {option!r}")
        elif target in TARGETS and name:
            flags[target][name] = value
        else:
            mistakes.append(f"unknown option {option!r}: {_known_options()}")
    if mistakes:
        raise ForwardedError(mistakes)
    return Forwarded(**flags)


def _pairs(arguments: list[str]) -> Iterator[tuple[str, str | None]]:
    while arguments:
        option = arguments.pop(0)
        name, equals, value = option.partition("=")
        if option.startswith("--") and equals:
            yield name, value
        elif option.startswith("--") and arguments and not arguments[0].startswith("--"):
            yield option, arguments.pop(0)
        else:
            yield option, None


def command_line(defaults: Flags, forwarded: Flags) -> tuple[str, ...]:
    """Options as arguments; a forwarded one replaces the default of the same name."""
    words: list[str] = []
    for name, value in (defaults | forwarded).items():
        words += [f"--{name}"] if value is None else [f"--{name}", value]
    return tuple(words)


def _known_options() -> str:
    listed = ", ".join(f"--{target}.NAME for {process}" for target, process in TARGETS.items())
    return f"see `gatewright run --help`; options passed on are {listed}"
