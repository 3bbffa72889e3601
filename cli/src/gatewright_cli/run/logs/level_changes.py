"""Changes the log levels of a node's processes, each by its own interface."""

from __future__ import annotations

from collections.abc import Mapping

from gatewright_cli.clients.controller_refusals import DeployError
from gatewright_cli.clients.engine_admin import EngineAdmin, EngineRefusedError
from gatewright_cli.clients.envoy_admin import EnvoyAdmin, EnvoyRefusedError
from gatewright_cli.clients.management import Management
from gatewright_cli.local_http import LocalHttpError
from gatewright_cli.run.logs.level_options import CONTROLLER, ENVOY, SUPERVISOR, parts_of
from gatewright_cli.supervision.logs.output import LogOutput
from gatewright_cli.supervision.logs.records import LEVELS

NOT_APPLIED = (DeployError, EngineRefusedError, EnvoyRefusedError, LocalHttpError)
"""Errors of a level that could not be changed."""


class LogLevelChanges:
    """management: of the node's controller, if it has one."""

    def __init__(
        self, output: LogOutput, management: Management | None, engine: EngineAdmin, envoy: EnvoyAdmin
    ) -> None:
        self._output, self._management, self._engine, self._envoy = output, management, engine, envoy

    async def apply(self, component: str, levels: Mapping[str, str]) -> None:
        """Changes a component's level. Raises one of NOT_APPLIED if that failed."""
        level = levels[component]
        if component == SUPERVISOR:
            self._output.set_level(next(known for known in LEVELS if known == level))
        elif component == ENVOY:
            await self._envoy.set_log_level(level, parts_of(levels))
        elif component == CONTROLLER and self._management is not None:
            await self._management.set_log_level(level)
        else:
            await self._engine.set_log_level(component, level)
