"""`gatewright run`, from its options on: preflight checks → build → settings of the node → the node's run → its end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click
from gatewright_controller.local.private import keep_private

from gatewright_cli import addresses
from gatewright_cli.builds import build_output
from gatewright_cli.builds.apart import Apart
from gatewright_cli.builds.generation import Generations
from gatewright_cli.clients.management import Management
from gatewright_cli.isolation.executor_users import ExecutorUsers, IsolationError
from gatewright_cli.isolation.levels import Isolation
from gatewright_cli.isolation.levels import Limits as ProcessLimits
from gatewright_cli.mistakes import PreflightError, refuse
from gatewright_cli.node.files import inspector_page
from gatewright_cli.node.files.operator_secrets import OperatorSecrets
from gatewright_cli.node.files.run_dir import RunDir
from gatewright_cli.node.files.temporary_folders import TemporaryFolders
from gatewright_cli.node.listeners.gateway import Gateway
from gatewright_cli.node.listeners.ports import ECHO_HOST
from gatewright_cli.node.phase_times import PhaseTimes
from gatewright_cli.node.specs.bootstrap import BootstrapError
from gatewright_cli.node.specs.processes import NodeSettings
from gatewright_cli.run import other_signals, preflight
from gatewright_cli.run.gateway_reloading import GatewaySource
from gatewright_cli.run.live_updates import UpdateSources
from gatewright_cli.run.node_run import Failure, NodeRun
from gatewright_cli.run.options import (
    Options,
    controller_tls,
    files_place,
    gateway_place,
    listeners,
    read_again,
    secrets_place,
    with_defaults,
    with_ports,
)
from gatewright_cli.run.preflight import RunInputs, StateDir, collecting
from gatewright_cli.supervision import forked
from gatewright_cli.supervision.logs.output import LogOutput

FORCED_STATUS = 130
HARD_LIMIT_RATIO = 2  # memory at which an executor's allocations fail : memory at which it is replaced


def run(options: Options, rest: Sequence[str]) -> int:
    """The exit status: 0 after an orderly stop, 1 if the start failed. Raises PreflightError."""
    other_signals.ignore_until_handled()
    _keep_private()
    options = with_ports(with_defaults(options))
    inputs = preflight.check(options, rest)
    with contextlib.ExitStack() as stack:
        stack.callback(inputs.reader.close)
        state_dir = StateDir.open(options.state_dir)
        stack.callback(state_dir.close)
        spent = PhaseTimes()
        if options.no_controller:
            inputs.reader.start_rendering(state_dir.path)  # during the build
        else:
            inputs.reader.close()
        build(options, spent)
        generations = _generations(options)
        stack.callback(generations.close)
        temporary = TemporaryFolders.open()
        stack.callback(temporary.close)
        changes = _changes(options, generations, inputs.gateway, state_dir.path)
        settings = node_settings(options, inputs, state_dir.path, changes, temporary.path)
        ports_again = listeners(options, inputs.gateway.listeners)
        refuse(list(preflight.port_mistakes(ports_again)))  # building may have taken minutes
        return _run_node(settings, inputs, options, changes, spent)


def _keep_private() -> None:
    """Denies other processes access to this one. Call it before a build imports policies."""
    try:
        keep_private()
    except OSError as error:
        click.echo(f"warning: other processes of this user can read this one ({error.strerror})", err=True)


def _generations(options: Options) -> Generations:
    """Opens the run's generations. Raises PreflightError if the build is unreadable, or has no room beside it."""
    mistakes: list[str] = []
    with collecting(mistakes):
        apart = Apart() if options.watch and options.isolation != "user" else None  # each group has a user
        output = build_output.load(options.build_output or options.output)
        return Generations.open(output, apart, keeps_engine=not options.in_envoy)
    raise PreflightError(mistakes)


def _changes(options: Options, generations: Generations, listening: Gateway, state_dir: Path) -> UpdateSources:
    """Freezes the first generation. Raises PreflightError if there is no room for it."""
    mistakes: list[str] = []
    with collecting(mistakes):
        first = generations.first()
    refuse(mistakes)
    manifest = None if options.build_output else options.manifest.absolute()
    target = options.output.absolute()
    source = GatewaySource(gateway_place(options), options.of_gateway, listening, state_dir)
    return UpdateSources(
        generations,
        first,
        target,
        manifest,
        options.watch,
        options.limits,
        options.import_limit,
        source,
        module=options.in_envoy,
    )


def node_settings(
    options: Options, inputs: RunInputs, state_dir: Path, changes: UpdateSources, temporary: Path
) -> NodeSettings:
    """The settings of the node."""
    controller = addresses.join_address(options.controller_host, options.controller_port)
    limits = ProcessLimits(options.executor_open_files, int(options.executor_file_size), options.executor_processes)
    return NodeSettings(
        manifest=changes.manifest,
        build=changes.first.build,
        definitions=changes.generations.definitions,
        checker=changes.generations.engine,
        state_dir=state_dir,
        envoy=inputs.envoy,
        bootstrap_template=inputs.bootstrap,
        node_id=options.node_id or socket.gethostname(),
        node_labels=dict(options.node_labels),
        edge=options.edge,
        gateway=inputs.gateway,
        controller=None if options.no_controller else controller,
        controller_tls=controller_tls(options),
        apis=files_place(options),
        nodes_listen=options.nodes_listen,
        nodes_authority=options.nodes_authority,
        joined=options.joined,
        states=options.states,
        state_key=options.state_key,
        state_export=options.state_export,
        echo=addresses.join_address(ECHO_HOST, options.echo_port) if options.with_echo else None,
        executors=options.executors,
        log_level=options.log_level,
        drain_seconds=options.drain_seconds,
        executor_drain_seconds=options.executor_drain,
        memory_limit=None if options.limits.resident is None else options.limits.resident * HARD_LIMIT_RATIO,
        silence_seconds=options.silence_limit,
        engine_scheduling=options.engine_scheduling,
        temporary=temporary,
        isolation=Isolation(options.isolation, inputs.kernel, limits, ExecutorUsers(*options.executor_uids)),
        forwarded=inputs.forwarded,
        pass_env=options.pass_env,
        secrets=secrets_place(options),
        in_envoy=options.in_envoy,
    )


def build(options: Options, spent: PhaseTimes) -> None:
    """Builds in a child process, since its imports would else stay in memory. Raises PreflightError."""
    if not options.build_output:
        with spent.measure("build"):
            refuse(forked.in_child(lambda: _build_mistakes(options)))


def _build_mistakes(options: Options) -> list[str]:
    from gatewright_builder.build import BuildOptions

    from gatewright_cli.builds import building  # here, since an image runs a build without the builder

    try:
        module, seconds = options.in_envoy, options.import_limit
        building.build(BuildOptions(options.manifest, options.output, import_seconds=seconds, module=module))
    except PreflightError as error:
        return error.mistakes
    return []


def _run_node(
    settings: NodeSettings,
    inputs: RunInputs,
    options: Options,
    changes: UpdateSources,
    spent: PhaseTimes,
) -> int:
    mistakes: list[str] = []
    with collecting(mistakes):
        run_dir = RunDir.open(options.run_dir)
    refuse(mistakes)
    stdout = None if sys.stdout is None else sys.stdout.fileno()  # None: it was closed before we started
    output = LogOutput(sys.stderr.fileno(), options.log_format, sys.stderr.isatty(), stdout, options.log_level)
    try:
        read = partial(read_again, options)
        management = _management(settings, inputs.secrets, run_dir)
        node = settings, run_dir, management, inputs.files, read, output, changes, spent
        rendered = None if settings.controller else inputs.reader.rendered
        running = NodeRun(*node, rendered, options.strict)
        failure = asyncio.run(running.run())
        text = _failure_text(failure, options, changes)
        if failure is not None and options.log_format == "json":
            output.event(text, "error")
    except (BootstrapError, IsolationError) as error:
        raise PreflightError([str(error)]) from error
    finally:
        run_dir.remove()
        output.close()
    if failure is None:
        return FORCED_STATUS if running.forced else 0
    if options.log_format == "text":
        click.echo(f"error: {text}", err=True)  # several lines, the last ones of the output
    return 1


def _management(settings: NodeSettings, secrets: OperatorSecrets, run_dir: RunDir) -> Management | None:
    """A client of the run's controller, whose secrets go into files; None without a controller."""
    if (url := settings.controller_url) is None:
        return None
    secrets.write(run_dir)
    tls = settings.controller_tls
    if tls:
        tls.keep_in(run_dir)
    inspector_page.write_page(run_dir, url, secrets.token)
    return Management(url, secrets.token, tls.trust() if tls else None, {"reason": "from a file of the run"})


def _failure_text(failure: Failure | None, options: Options, changes: UpdateSources) -> str:
    """The failure with paths of the build output: those of the run's own copy are gone by then."""
    output = (options.build_output or options.output).absolute()
    return str(failure).replace(str(changes.first.build.path), str(output))
