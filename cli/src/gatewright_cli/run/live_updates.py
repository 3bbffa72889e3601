"""Changes to a running node: reloads by command, by signal or by a saved file, and the recycling of executors."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from gatewright_cli.builds.build_runs import BuildRuns
from gatewright_cli.builds.generation import Generation, Generations
from gatewright_cli.clients.engine_admin import EngineAdmin
from gatewright_cli.clients.management import Management
from gatewright_cli.node.executors.recycling import ExecutorRecycler, Limits
from gatewright_cli.node.executors.replacement import Executors
from gatewright_cli.node.executors.takeover import Takeovers
from gatewright_cli.node.files.admin_relays import AdminRelays
from gatewright_cli.node.files.peers import own_check
from gatewright_cli.node.files.run_dir import RunDir
from gatewright_cli.node.specs.processes import ENVOY, NodeSettings
from gatewright_cli.node.supervisor_metrics import SupervisorMetrics
from gatewright_cli.run.control import SOCKET, Control, Status
from gatewright_cli.run.draining import NodeDrain
from gatewright_cli.run.gateway_reloading import GatewayReloads, GatewaySource
from gatewright_cli.run.logs.levels import LogLevels
from gatewright_cli.run.reloading import ReloadError, Reloads
from gatewright_cli.supervision.logs.output import LogOutput
from gatewright_cli.supervision.orphans import Orphans
from gatewright_cli.supervision.supervisor import Supervisor


@dataclass(frozen=True)
class UpdateSources:
    """Where updates come from.

    generations: open; first: the one that the node starts with. manifest: the build.yaml that a reload builds into
    `target` first; None to use the output as it is. watch: whether a saved file reloads. import_seconds: how long the
    import of one policy may take in a build. gateway: the source of the Gateway. module: whether builds make the engine
    for Envoy, too.
    """

    generations: Generations
    first: Generation
    target: Path
    manifest: Path | None = None
    watch: bool = False
    limits: Limits = field(default_factory=Limits)
    import_seconds: float = 60.0
    gateway: GatewaySource = field(default_factory=GatewaySource)
    module: bool = False


@dataclass(frozen=True)
class RunInterface:
    """What the rest of the run offers to live updates.

    status: the run's status for the control socket. levels: the log levels. listening: reloads the Gateway. reloaded:
    called after each successful reload. reload: an event to set to ask for a reload. orphans, metrics, relays: of this
    process.
    """

    status: Status
    reloaded: Callable[[], None]
    levels: LogLevels
    listening: GatewayReloads | None = None
    reload: asyncio.Event = field(default_factory=asyncio.Event)
    orphans: Orphans = field(default_factory=Orphans)
    metrics: SupervisorMetrics = field(default_factory=lambda: SupervisorMetrics(list))
    relays: AdminRelays | None = None


@contextlib.asynccontextmanager
async def live_updates(
    changes: UpdateSources,
    settings: NodeSettings,
    run_dir: RunDir,
    supervisor: Supervisor,
    output: LogOutput,
    interface: RunInterface,
    management: Management | None,
) -> AsyncIterator[None]:
    """Serves reloads, and recycles executors, while the body runs: between start and stop of the supervisor."""
    admin = EngineAdmin(run_dir.socket("engine-admin"))
    takeovers = Takeovers(settings, run_dir, supervisor, output, interface.relays) if interface.relays else None
    executors = Executors(
        settings, run_dir, supervisor, output, admin, changes.first, changes.generations.drop, takeovers
    )
    builds = None
    if changes.manifest is not None:
        what = changes.manifest, changes.target, changes.import_seconds
        builds = BuildRuns(*what, changes.watch, interface.orphans, module=changes.module)
    reloads = Reloads(changes.generations, executors, output, builds, management, interface.listening)
    reloads.reloaded, reloads.ended = interface.reloaded, interface.metrics.count_reload
    at = run_dir.socket(SOCKET)
    control = Control(at, reloads, interface.status, interface.levels, own_check(at, output))
    tasks = [
        asyncio.create_task(
            ExecutorRecycler(executors, admin, output, changes.limits, interface.metrics.count_recycled).run(),
            name="executor recycling",
        ),
        asyncio.create_task(_reload_when_asked(interface.reload, reloads, output), name="reload by signal"),
        asyncio.create_task(
            NodeDrain(admin, lambda: supervisor.process(ENVOY), run_dir.socket("envoy-admin"), output).run(),
            name="drain",
        ),
    ]
    if changes.watch and changes.manifest is not None:
        from gatewright_cli.run.watching import SourceWatcher  # here, since an image runs without the builder

        watcher = SourceWatcher(changes.manifest, reloads, output, changes.gateway.file)
        tasks.append(asyncio.create_task(watcher.run(), name="watch"))
    for task in tasks:
        task.add_done_callback(lambda done: _log_failure(done, output))
    for note in changes.first.notes:
        output.event(note, "warning")
    await control.start()
    try:
        yield
    finally:
        await control.close()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await reloads.close()
        await executors.close()


async def _reload_when_asked(requested: asyncio.Event, reloads: Reloads, output: LogOutput) -> None:
    """Reloads for each signal. Signals during a reload ask for one more."""
    while True:
        await requested.wait()
        requested.clear()
        output.event("reloading", signal="SIGHUP")
        with contextlib.suppress(ReloadError):  # the reload logs it
            await reloads.reload()


def _log_failure(task: asyncio.Task[None], output: LogOutput) -> None:
    """Logs a task's failure, so that it does not look like a node without anything to replace."""
    if not task.cancelled() and (error := task.exception()) is not None:
        output.event(f"{task.get_name()} has ended: {error!r}", "error")
