"""`gatewright run`, up to the first process: options → all mistakes at once → build → a node's settings."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import click

from gatewright_cli.builds import build_output
from gatewright_cli.builds.build_output import BuildOutputError
from gatewright_cli.builds.generation import Generations
from gatewright_cli.isolation import kernel_probe
from gatewright_cli.isolation import levels as isolation
from gatewright_cli.isolation.executor_users import ExecutorUsers, IsolationError
from gatewright_cli.isolation.levels import Isolation, Kernel, Level
from gatewright_cli.isolation.levels import Limits as ProcessLimits
from gatewright_cli.node import api_files, bootstrap, environment, forwarded, operator_secrets, ports
from gatewright_cli.node.api_files import ApiFile, ApiFileError, ApiFiles, RefusedFile
from gatewright_cli.node.bootstrap import BootstrapError
from gatewright_cli.node.edge import Edge, edge
from gatewright_cli.node.executor_recycling import Limits
from gatewright_cli.node.forwarded import Forwarded, ForwardedError
from gatewright_cli.node.management import Management
from gatewright_cli.node.operator_secrets import OperatorSecrets
from gatewright_cli.node.ports import ECHO_HOST, ECHO_NAMES, ECHO_PORT
from gatewright_cli.node.processes import NodeSettings, UnderscoredHeaders
from gatewright_cli.node.run_dir import RunDir, RunDirError
from gatewright_cli.node.spent import Spent
from gatewright_cli.run import preflight
from gatewright_cli.run.live_updates import Changes
from gatewright_cli.run.node_run import Failure, NodeRun
from gatewright_cli.run.preflight import PreflightError, StateDir
from gatewright_cli.supervision import forked, prctl
from gatewright_cli.supervision.log_output import LogFormat, LogOutput
from gatewright_cli.supervision.records import LogLevel
from gatewright_cli.supervision.specs import Scheduling
from gatewright_cli.supervision.temporary_folder import TemporaryFolders

APIS = "apis"
PORT_OPTION = "--port (make run PORT=…)"
FORCED_STATUS = 130
HARD_LIMIT_RATIO = 2  # of the memory at which an executor's allocations fail to that at which it is replaced


@dataclass(frozen=True)
class Options:
    """The options of `gatewright run`, by their names on the command line."""

    manifest: Path
    output: Path
    import_limit: float
    build_output: Path | None
    host: str
    port: int
    controller_host: str
    controller_port: int
    no_controller: bool
    state_dir: Path
    run_dir: Path | None
    apis: Path | None
    with_echo: bool | None
    echo_port: int
    executors: int
    node_id: str | None
    bootstrap: Path | None
    access_log: str
    access_log_sample: float
    underscored_headers: UnderscoredHeaders
    drain_seconds: float
    log_format: LogFormat
    log_level: LogLevel
    watch: bool
    executor_drain: float
    recycle_after: float | None
    recycle_executions: int | None
    executor_memory_limit: float | None
    hung_limit: int | None
    health_limit: float
    silence_limit: float
    memory: float | None
    body_memory: float | None
    request_limit: float
    max_connections: int | None
    engine_scheduling: Scheduling
    isolation: Level
    executor_uids: tuple[int, int]
    executor_open_files: int
    executor_file_size: float
    executor_processes: int
    strict: bool
    pass_env: tuple[str, ...]

    @property
    def edge(self) -> Edge:
        """What clients may take of the node."""
        return edge(self.memory, self.body_memory, self.request_limit, self.max_connections)

    @property
    def limits(self) -> Limits:
        """When executor processes are replaced."""
        resident = None if self.executor_memory_limit is None else int(self.executor_memory_limit)
        return Limits(self.recycle_after, self.recycle_executions, resident, self.hung_limit, self.health_limit)


@dataclass(frozen=True)
class Prepared:
    """What was found before anything was started or built."""

    files: ApiFiles
    forwarded: Forwarded
    envoy: Path
    bootstrap: Path
    secrets: OperatorSecrets
    kernel: Kernel


def run(options: Options, rest: Sequence[str]) -> int:
    """The exit status: 0 after an orderly stop, 1 where the start failed. Raises PreflightError."""
    _keep_private()
    options = with_ports(with_defaults(options))
    prepared = prepare(options, rest)
    with contextlib.ExitStack() as stack:
        state_dir = StateDir.open(options.state_dir)
        stack.callback(state_dir.close)
        spent = Spent()
        _build(options, spent)
        generations = _generations(options)
        stack.callback(generations.close)
        temporary = TemporaryFolders.open()
        stack.callback(temporary.close)
        changes = _changes(options, generations)
        settings = node_settings(options, prepared, state_dir.path, changes, temporary.path)
        refuse(list(preflight.port_mistakes(listeners(options))))  # building may have taken minutes
        return _run_node(settings, prepared, options, changes, spent)


def _keep_private() -> None:
    """Before a build imports policies, and before any runs."""
    try:
        prctl.keep_private()
    except OSError as error:
        click.echo(f"warning: other processes of this user can read this one ({error.strerror})", err=True)


def with_defaults(options: Options) -> Options:
    """The options with what the manifest's folder says: the `apis` beside it, and the echo that one of them names."""
    beside = options.manifest.parent / APIS
    if options.apis is None and not (options.build_output or options.no_controller) and beside.is_dir():
        options = replace(options, apis=beside)
    if options.with_echo is None:
        options = replace(options, with_echo=options.apis is not None and _names_a_free_echo(options, options.apis))
    return options


def _names_a_free_echo(options: Options, apis: Path) -> bool:
    """Whether an API's upstream is where the echo is by default, or where --echo-port puts it, and nobody is there."""
    try:
        upstreams = {api_files.http_address(url) for api in api_files.load(apis).apis for url in api.upstreams}
    except ApiFileError:
        return False  # said in a moment
    named = {port for host, port in filter(None, upstreams) if host in ECHO_NAMES}
    return any(ports.obstacle(ECHO_HOST, port) is None for port in named & {ECHO_PORT, options.echo_port})


def with_ports(options: Options) -> Options:
    """The options with each port 0 replaced by a free one."""
    return replace(
        options,
        port=options.port or ports.free_port(options.host),
        controller_port=options.controller_port or ports.free_port(options.controller_host),
        echo_port=options.echo_port or ports.free_port(ECHO_HOST),
    )


def prepare(options: Options, rest: Sequence[str]) -> Prepared:
    """Raises PreflightError with every mistake that can be seen without building or starting anything."""
    mistakes = [*preflight.port_mistakes(listeners(options)), *options.edge.mistakes()]
    with collecting(mistakes):
        flags = forwarded.parse(rest)
    with collecting(mistakes):
        files = api_files.load(options.apis).map(partial(_at_the_echo, options)) if options.apis else ApiFiles()
        if options.strict:
            mistakes += [said for file in files.refused for said in file.sentences]
    with collecting(mistakes):
        secrets = operator_secrets.take()
    with collecting(mistakes):
        template = bootstrap.find(options.bootstrap)
    with collecting(mistakes):
        envoy = preflight.find_envoy()
    mistakes += isolation.obstacles(options.isolation)
    if options.apis and options.no_controller:
        mistakes.append("--apis needs the controller: leave out --no-controller, or --apis")
    if options.build_output and options.watch:
        mistakes.append("--watch needs a build.yaml to build from: leave out --build, or --watch")
    if options.build_output:
        with collecting(mistakes):
            build_output.load(options.build_output)
    mistakes += environment.passed_mistakes(options.pass_env)
    refuse(mistakes)
    return Prepared(files, flags, envoy, template, secrets, kernel_probe.probe())


def _at_the_echo(options: Options, api: ApiFile) -> ApiFile:
    """API files name the echo upstream's default port; where it was given another one, they mean that."""
    return api_files.moved(api, ECHO_NAMES, ECHO_PORT, options.echo_port) if options.with_echo else api


def _read_again(options: Options, path: Path) -> list[ApiFile | RefusedFile]:
    return [_at_the_echo(options, file) if isinstance(file, ApiFile) else file for file in api_files.read(path)]


def listeners(options: Options) -> dict[str, tuple[str, int]]:
    """Option → host and port, for all that this run will listen on."""
    found = {PORT_OPTION: (options.host, options.port)}
    if not options.no_controller:
        found["--controller-port"] = (options.controller_host, options.controller_port)
    if options.with_echo:
        found["--echo-port"] = (ECHO_HOST, options.echo_port)
    return found


def _generations(options: Options) -> Generations:
    """Raises PreflightError where the build output cannot be read."""
    mistakes: list[str] = []
    with collecting(mistakes):
        output = build_output.load(options.build_output or options.output)
    refuse(mistakes)
    return Generations.open(output)


def _changes(options: Options, generations: Generations) -> Changes:
    manifest = None if options.build_output else options.manifest.absolute()
    target = options.output.absolute()
    return Changes(
        generations, generations.first(), target, manifest, options.watch, options.limits, options.import_limit
    )


def node_settings(
    options: Options, prepared: Prepared, state_dir: Path, changes: Changes, temporary: Path
) -> NodeSettings:
    """What the node is made of."""
    controller = ports.join_address(options.controller_host, options.controller_port)
    return NodeSettings(
        build=changes.first.build,
        definitions=changes.generations.definitions,
        state_dir=state_dir,
        envoy=prepared.envoy,
        bootstrap_template=prepared.bootstrap,
        node_id=options.node_id or socket.gethostname(),
        edge=options.edge,
        host=options.host,
        port=options.port,
        tls=bootstrap.speaks_tls(prepared.bootstrap),
        controller=None if options.no_controller else controller,
        echo=ports.join_address(ECHO_HOST, options.echo_port) if options.with_echo else None,
        executors=options.executors,
        access_log=options.access_log,
        access_log_sample=options.access_log_sample,
        underscored_headers=options.underscored_headers,
        log_level=options.log_level,
        drain_seconds=options.drain_seconds,
        executor_drain_seconds=options.executor_drain,
        memory_limit=None if options.limits.resident is None else options.limits.resident * HARD_LIMIT_RATIO,
        silence_seconds=options.silence_limit,
        engine_scheduling=options.engine_scheduling,
        temporary=temporary,
        isolation=_isolation(options, prepared.kernel),
        forwarded=prepared.forwarded,
        pass_env=options.pass_env,
    )


def _isolation(options: Options, kernel: Kernel) -> Isolation:
    limits = ProcessLimits(options.executor_open_files, int(options.executor_file_size), options.executor_processes)
    return Isolation(options.isolation, kernel, limits, ExecutorUsers(*options.executor_uids))


@contextlib.contextmanager
def collecting(mistakes: list[str]) -> Iterator[None]:
    """Adds what the body refuses to `mistakes` and goes on, so that all of them are said at once."""
    try:
        yield
    except (ApiFileError, ForwardedError, PreflightError) as error:
        mistakes += error.mistakes
    except (BootstrapError, BuildOutputError, RunDirError) as error:
        mistakes.append(str(error))


def refuse(mistakes: list[str]) -> None:
    if mistakes:
        raise PreflightError(mistakes)


def _build(options: Options, spent: Spent) -> None:
    if not options.build_output:
        with spent.on("build"):
            forked.in_child(lambda: _build_here(options))


def _build_here(options: Options) -> str:
    from gatewright_cli.builds import building  # here, because an image runs a build without holding the builder

    return str(building.build(options.manifest, options.output, import_seconds=options.import_limit).output)


def _run_node(settings: NodeSettings, prepared: Prepared, options: Options, changes: Changes, spent: Spent) -> int:
    mistakes: list[str] = []
    with collecting(mistakes):
        run_dir = RunDir.open(options.run_dir)
    refuse(mistakes)
    stdout = None if sys.stdout is None else sys.stdout.fileno()  # None: it was closed before we started
    output = LogOutput(sys.stderr.fileno(), options.log_format, sys.stderr.isatty(), stdout, options.log_level)
    try:
        read = partial(_read_again, options)
        management = _management(settings, prepared.secrets, run_dir)
        running = NodeRun(settings, run_dir, management, prepared.files, read, output, changes, spent, options.strict)
        failure = asyncio.run(running.run())
        said = _said(failure, options, changes)
        if failure is not None and options.log_format == "json":
            output.event(said, "error")
    except (BootstrapError, IsolationError) as error:
        raise PreflightError([str(error)]) from error
    finally:
        run_dir.remove()
        output.close()
    if failure is None:
        return FORCED_STATUS if running.forced else 0
    if options.log_format == "text":
        click.echo(f"error: {said}", err=True)  # a text of several lines, and the last thing that is said
    return 1


def _management(settings: NodeSettings, secrets: OperatorSecrets, run_dir: RunDir) -> Management | None:
    """The run's own controller, which is given its secrets by files; None without one."""
    if settings.controller is None:
        return None
    secrets.write(run_dir)
    return Management(ports.url(settings.controller), secrets.token)


def _said(failure: Failure | None, options: Options, changes: Changes) -> str:
    """With the paths of the output: those of the run's own copy are gone when it is read."""
    output = (options.build_output or options.output).absolute()
    return str(failure).replace(str(changes.first.build.path), str(output))
