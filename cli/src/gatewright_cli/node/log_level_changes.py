"""Changes the log levels of a node's processes, each by its own interface."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gatewright_cli.clients.engine_admin import EngineAdmin, EngineRefusedError
from gatewright_cli.clients.management import DeployError, Management
from gatewright_cli.local_http import LocalClient, LocalHttpError
from gatewright_cli.node.log_level_options import CONTROLLER, ENVOY, SUPERVISOR, parts_of
from gatewright_cli.supervision.log_output import LogOutput
from gatewright_cli.supervision.records import LEVELS


class LogLevelChanges:
    """management: of the node's controller, if it has one. envoy: Envoy's admin socket."""

    def __init__(self, output: LogOutput, management: Management | None, engine: EngineAdmin, envoy: Path) -> None:
        self._output, self._management, self._engine = output, management, engine
        self._envoy = LocalClient(envoy)

    async def apply(self, component: str, levels: Mapping[str, str]) -> None:
        """Changes a component's level. Raises DeployError, EngineRefusedError or LocalHttpError if that failed."""
        level = levels[component]
        if component == SUPERVISOR:
            self._output.set_level(next(known for known in LEVELS if known == level))
        elif component == ENVOY:
            await self._change_envoy(level, parts_of(levels))
        elif component == CONTROLLER and self._management is not None:
            await self._management.set_log_level(level)
        else:
            await self._engine.set_log_level(component, level)

    async def _change_envoy(self, level: str, parts: list[tuple[str, str]]) -> None:
        """First sets all loggers, then the parts that differ:
        https://www.envoyproxy.io/docs/envoy/latest/operations/admin, /logging.
        """
        for params in [{"level": level}, *({part: part_level} for part, part_level in parts)]:
            answer = await self._envoy.request("POST", "/logging", params=params)
            if answer.is_error:
                reason = answer.text.strip()[:200] if "level" in params else await self._known_parts()
                raise EngineRefusedError(reason)

    async def _known_parts(self) -> str:
        """A sentence with all parts. Without parameters Envoy answers with each part and level: "  http: warning"."""
        answer = await self._envoy.request("POST", "/logging")
        parts = [line.partition(":")[0].strip() for line in answer.text.splitlines() if line.startswith(" ")]
        return f"Envoy knows no such part; it has {', '.join(parts)}"


NOT_APPLIED = (DeployError, EngineRefusedError, LocalHttpError)
