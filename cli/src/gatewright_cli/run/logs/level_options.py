"""The log levels that the processes of a node are started with."""

from __future__ import annotations

import re
from collections.abc import Mapping

from gatewright_cli.node.specs.processes import NodeSettings
from gatewright_cli.supervision.logs.records import LEVELS

ENVOY = "envoy"
SUPERVISOR, CONTROLLER, ENGINE, EXECUTOR = "supervisor", "controller", "policy-engine", "python-executor"
COMPONENTS = (SUPERVISOR, CONTROLLER, EXECUTOR, ENGINE, ENVOY)
"""By their names in log lines."""
ENVOY_LEVELS = ("trace", "debug", "info", "warning", "error", "critical", "off")
ENVOY_DEFAULT = "warning"
PART = re.compile(r"envoy\.[a-z0-9_]{1,64}")
"""A logger of Envoy's: envoy.ext_proc."""


def levels_of(component: str) -> tuple[str, ...]:
    """The levels of a component, the most verbose first."""
    return ENVOY_LEVELS if component == ENVOY else LEVELS


def levels_at_start(settings: NodeSettings) -> dict[str, str]:
    """The level of each component at the start of a node; parts of Envoy as "envoy.http"."""
    forwarded, level = settings.forwarded, settings.log_level
    parts = (part.partition(":") for part in (forwarded.envoy.get("component-log-level") or "").split(",") if part)
    return {
        SUPERVISOR: level,
        **({CONTROLLER: level} if settings.controller else {}),
        EXECUTOR: forwarded.py.get("log-level") or level,
        ENGINE: forwarded.pe.get("log-level") or level,
        ENVOY: forwarded.envoy.get("log-level") or ENVOY_DEFAULT,
        **{f"{ENVOY}.{name}": part_level for name, _, part_level in parts},
    }


def with_levels(command: tuple[str, ...], component: str, levels: Mapping[str, str]) -> tuple[str, ...]:
    """A component's command with the levels in it; unchanged for a component without levels."""
    if component not in levels or component == SUPERVISOR:
        return command
    command = _with(command, "--log-level", levels[component])
    parts = [f"{name}:{level}" for name, level in parts_of(levels)] if component == ENVOY else []
    return _with(command, "--component-log-level", ",".join(parts)) if parts else command


def parts_of(levels: Mapping[str, str]) -> list[tuple[str, str]]:
    """The parts of Envoy with their levels, by Envoy's names."""
    return [(name.partition(".")[2], level) for name, level in sorted(levels.items()) if name.startswith(f"{ENVOY}.")]


def _with(command: tuple[str, ...], option: str, value: str) -> tuple[str, ...]:
    if option not in command:
        return (*command, option, value)
    at = command.index(option) + 1
    return (*command[:at], value, *command[at + 1 :])
