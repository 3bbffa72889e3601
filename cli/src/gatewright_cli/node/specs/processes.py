"""The processes of a node, in the order in which they start (ARCHITECTURE.md, "Processes of a node")."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from gatewright_cli.addresses import url
from gatewright_cli.builds.build_output import BuildOutput
from gatewright_cli.builds.generation import Generation
from gatewright_cli.isolation.levels import Isolation
from gatewright_cli.node.files import state_sources
from gatewright_cli.node.files.controller_tls import ControllerTls
from gatewright_cli.node.files.joined_controller import JoinedController
from gatewright_cli.node.files.operator_secrets import SECRET_KEY_FILE, SYSTEM_PARAMETERS_FILE, TOKEN_FILE
from gatewright_cli.node.files.run_dir import RunDir
from gatewright_cli.node.files.state_sources import StateSources
from gatewright_cli.node.listeners import gateway
from gatewright_cli.node.listeners.gateway import Gateway
from gatewright_cli.node.specs import bootstrap, environment
from gatewright_cli.node.specs.edge import Edge, edge
from gatewright_cli.node.specs.envoy_drain import EnvoyDrain
from gatewright_cli.node.specs.forwarded import Flags, Forwarded, command_line
from gatewright_cli.supervision.handed_socket import DESCRIPTOR, HandedSocket
from gatewright_cli.supervision.logs.records import LogLevel
from gatewright_cli.supervision.orphans import MARK
from gatewright_cli.supervision.probes import Accepts, All, Answers, Drain, Speaks
from gatewright_cli.supervision.specs import Guest, ProcessSpec, Scheduling
from gatewright_cli.supervision.stack_page import DESCRIPTOR as STACKS
from gatewright_cli.supervision.temporary_folder import TemporaryFolder

ENVOY_LOG = '{"time":"%Y-%m-%dT%T.%eZ","level":"%l","component":"envoy","message":"%j"}'
ENVOY_UNSHOWN = tuple(
    f'"component":"envoy","message":"{begins}'.encode()
    for begins in (
        # Operations may have any method, so each listener has this field; no setting of Envoy's accepts it. envoy.md
        "field 'envoy.config.core.v3.Http1ProtocolOptions.allow_custom_methods' is marked as work-in-progress. ",
    )
)
"""Beginnings of Envoy's log lines that are not passed on. No client can write them: `"` is escaped in a message."""
ENGINE_ENDS = (
    b'"component":"envoy","message":"DeltaAggregatedResources gRPC config stream to gatewright_xds closed: 13, '
)
"""Envoy's line about the end of an engine inside of it, which comes at the end of their process alone."""
ENVOY_CLOCK = {"TZ": "UTC0"}
"""Envoy writes the times of its log lines in the time zone of its process."""
ACCESS_FLUSH_MS = 500
ENVOY_DRAIN_SECONDS = 600
"""How long connections of a changed or removed listener may take to end. The next answer on each asks its client to
close it, and idle ones end after `connectionIdle` (300 s)."""
DATABASE = "controller.db"
DATABASE_VARIABLES = ("GATEWRIGHT_CONTROLLER_DATABASE", "GATEWRIGHT_CONTROLLER_DATABASE_FILE")
"""Of the environment: the controller's database is another than the one in the state directory."""
ENGINE_STATE, LAST_GOOD = "engine", "last-good"
"""The engine's folder in the state directory, and its file there with the last state that an Envoy accepted."""
EXPORT_VARIABLE = "GATEWRIGHT_CONTROLLER_STATE_EXPORT"
"""Where the controller exports states: no argument, since a URL may have a secret in it."""
CHALLENGES = "challenges"
"""Name of a socket of the controller, where Envoy gets answers to challenges of ACME."""
CONTROLLER_METRICS, SUPERVISOR_METRICS = "controller-metrics", "supervisor-metrics"
"""Names of sockets of the controller and the supervisor, from which the engine scrapes metrics."""
STOP_SLACK_SECONDS = 5.0
ENGINE, ENGINE_COMPONENT, ENVOY = "engine", "policy-engine", "envoy"
MODULES_VARIABLE = "ENVOY_DYNAMIC_MODULES_SEARCH_PATH"
"""Of Envoy's environment: the folder of the libraries that it loads."""
UNBUFFERED = {"PYTHONUNBUFFERED": "1"}


@dataclass(frozen=True)
class NodeSettings:
    """What to run and where.

    manifest: the build.yaml of the build; None if a build output is run as it is.
    build: the first build; definitions: the folder with the policy definitions of the present build.
    gateway: the Gateway that Envoy serves.
    controller, echo: HOST:PORT, or None for none. controller_tls: None for HTTP in clear. apis: files that
    the controller takes all APIs from; None for its management API. nodes_listen: where nodes of other machines join
    the controller, nodes_authority: who signs their certificates. joined: a controller elsewhere. node_labels: by which
    APIs choose nodes. states: where the node starts from without a state of its own. state_key, state_export: what
    signs the states of the controller, and where it writes them.
    executors: processes for each group of Python policies. drain_seconds: how long requests may take to end at a stop.
    executor_drain_seconds: how long a replaced executor may go on. memory_limit: bytes that an executor may hold before
    its allocations fail; None for no limit. silence_seconds: how long any other process may neither answer nor make
    progress before it is killed and started again. engine_scheduling: "batch" costs less CPU.
    temporary: the folder of the executors' temporary folders. isolation: that of the executors.
    log_level: of all processes but Envoy. edge: the limits for clients.
    in_envoy: whether the engine runs inside of Envoy's process.
    pass_env: names of variables that Python and Go policies get. secrets: the folder of the secrets' files, which may
    not exist yet, or None.
    """

    build: BuildOutput
    definitions: Path
    state_dir: Path
    envoy: Path
    bootstrap_template: Path
    node_id: str
    temporary: Path
    edge: Edge = field(default_factory=edge)
    node_labels: Mapping[str, str] = field(default_factory=dict)
    gateway: Gateway = field(default_factory=Gateway)
    manifest: Path | None = None
    checker: Path | None = None
    controller: str | None = "127.0.0.1:9090"
    controller_tls: ControllerTls | None = None
    apis: Path | None = None
    nodes_listen: str | None = None
    nodes_authority: Path | None = None
    joined: JoinedController | None = None
    states: StateSources = field(default_factory=StateSources)
    state_key: Path | None = None
    state_export: str | None = None
    echo: str | None = None
    executors: int = 1
    log_level: LogLevel = "info"
    drain_seconds: float = 10.0
    executor_drain_seconds: float = 30.0
    memory_limit: int | None = None
    silence_seconds: float = 5.0
    engine_scheduling: Scheduling = "batch"
    isolation: Isolation = field(default_factory=Isolation)
    forwarded: Forwarded = field(default_factory=Forwarded)
    pass_env: tuple[str, ...] = ()
    secrets: Path | None = None
    in_envoy: bool = False

    @property
    def url(self) -> str:
        """Where a client on this machine reaches the first listener."""
        return self.gateway.listeners[0].url

    @property
    def controller_url(self) -> str | None:
        """Where a client on this machine reaches the management API; None without a controller."""
        return url(self.controller, "https" if self.controller_tls else "http") if self.controller else None


@dataclass(frozen=True)
class ExecutorId:
    """One executor process. serial: counts the processes of the same group and slot, from 1."""

    group: str
    slot: int
    serial: int = 1

    @property
    def name(self) -> str:
        """executor-default-0, then executor-default-0.2 …"""
        return f"executor-{self.group}-{self.slot}" + (f".{self.serial}" if self.serial > 1 else "")


Roster = Mapping[ExecutorId, Path]
"""Executor processes, each with its socket."""


def first_executors(settings: NodeSettings, run_dir: RunDir) -> dict[ExecutorId, Path]:
    """The executors of the first build, with their sockets; empty without Python policies."""
    ids = [ExecutorId(group.name, slot) for group in settings.build.groups for slot in range(settings.executors)]
    return {executor_id: run_dir.socket(executor_id.name) for executor_id in ids}


def addresses(roster: Roster) -> dict[str, list[str]]:
    """group → addresses, "unix:/path"."""
    by_group: dict[str, list[str]] = {}
    for executor_id, socket in roster.items():
        by_group.setdefault(executor_id.group, []).append(f"unix:{socket}")
    return by_group


def at_start(settings: NodeSettings, run_dir: RunDir) -> list[ProcessSpec]:
    """All processes of a node at its start; also writes their configuration into the run directory."""
    roster = first_executors(settings, run_dir)
    first = Generation(1, settings.build)
    proxy = envoy(settings, run_dir)
    return [
        *([controller(settings, run_dir)] if settings.controller else []),
        *([echo(settings.echo)] if settings.echo else []),
        *(executor(settings, run_dir, first, executor_id, socket) for executor_id, socket in roster.items()),
        *([] if settings.in_envoy else [engine(settings, run_dir, first, roster)]),
        inside(proxy, settings, run_dir, first, roster) if settings.in_envoy else proxy,
    ]


def controller(settings: NodeSettings, run_dir: RunDir) -> ProcessSpec:
    """The controller of a node, which renders the Gateway; also writes its document into the run directory."""
    address, base, tls = settings.controller or "", settings.controller_url or "", settings.controller_tls
    elsewhere, database = _database_variable(), database_of(settings.state_dir)
    secret_keys = run_dir.path / SECRET_KEY_FILE
    own = f"Its database is in {settings.state_dir}; another --state-dir starts with a new one."
    socket, challenges, metrics = (run_dir.socket(name) for name in ("controller", CHALLENGES, CONTROLLER_METRICS))
    options: Flags = {
        "listen": address,
        **({"tls-certificate": str(tls.certificate), "tls-key": str(tls.key)} if tls else {}),
        "node-listen": f"unix:{socket}",
        **({"node-tls-listen": settings.nodes_listen} if settings.nodes_listen else {}),
        **({"node-tls-authority": str(settings.nodes_authority.absolute())} if settings.nodes_authority else {}),
        "peers": str(run_dir.peers),
        "definitions": str(settings.definitions),
        **({"apis": str(settings.apis)} if settings.apis else {}),
        **({"engine": str(settings.checker)} if settings.checker else {}),
        **({"database": database} if database else {}),
        "last-good": str(_last_good(settings)),
        **({"state-key": str(settings.state_key.absolute())} if settings.state_key else {}),
        "token-file": str(run_dir.path / TOKEN_FILE),
        "system-parameters-file": str(run_dir.path / SYSTEM_PARAMETERS_FILE),
        **({"secret-key-file": str(secret_keys)} if secret_keys.exists() else {}),
        "gateway": str(gateway.write_document(run_dir, settings.gateway)),
        "rendered-gateway": str(run_dir.file(gateway.RENDERED)),
        "acme-folder": str(gateway.acme_folder(settings.state_dir)),
        "challenges-listen": f"unix:{challenges}",
        "metrics-listen": f"unix:{metrics}",
        "log-level": settings.log_level,
    }
    return ProcessSpec(
        name="controller",
        command=(sys.executable, "-m", "gatewright_controller", *command_line(options, {})),
        environment=UNBUFFERED | ({EXPORT_VARIABLE: settings.state_export} if settings.state_export else {}),
        inherits=environment.CONTROLLER,
        ready=Answers("/healthz", base=base, trust=tls.trust if tls else None),
        alive=Answers("/healthz", base=base, trust=tls.trust if tls else None, any_status=True),
        silence_seconds=settings.silence_seconds,
        sockets=(socket, challenges, metrics),
        listen=address,
        cure=f"Its database is the one that {elsewhere} names." if elsewhere else own,
    )


def database_of(state_dir: Path) -> str:
    """The URL of the controller's database; "" where the environment names another, which the controller reads."""
    return "" if _database_variable() else f"sqlite:{state_dir / DATABASE}"


def _database_variable() -> str:
    return next((name for name in DATABASE_VARIABLES if os.environ.get(name)), "")


def echo(address: str) -> ProcessSpec:
    """The echo upstream, at HOST:PORT."""
    return ProcessSpec(
        name="echo",
        command=(sys.executable, "-m", "gatewright_cli", "echo", "--listen", address),
        environment=UNBUFFERED,
        inherits=environment.ECHO,
        ready=Accepts(address=address),
        listen=address,
        stop_seconds=3.0,
    )


def executor(
    settings: NodeSettings, run_dir: RunDir, generation: Generation, executor_id: ExecutorId, socket: Path
) -> ProcessSpec:
    """One executor. Raises IsolationError."""
    build, group = generation.build, generation.build.group(executor_id.group)
    isolation, peers = settings.isolation, run_dir.peers
    options: Flags = {
        "listen": f"fd:{DESCRIPTOR}",
        "stacks": f"fd:{STACKS}",
        **({} if isolation.wanted == "user" else {"peers": str(peers)}),  # a process of another user cannot reach it
        "workers": "32",
        "registry": str(group.registry),
        "log-level": settings.log_level,
    }
    if settings.memory_limit:
        options["memory-limit"] = str(settings.memory_limit)
    handed = HandedSocket(socket)
    temporary = TemporaryFolder(settings.temporary / executor_id.name, isolation.user(executor_id.group))
    ours = (run_dir.path, settings.state_dir, settings.temporary)
    sandbox = isolation.sandbox(build, group, temporary, settings.executors, ours, (peers.parent,))
    return ProcessSpec(
        name=executor_id.name,
        component="python-executor",
        command=(str(group.python), "main.py", *command_line(options, settings.forwarded.py)),
        cwd=build.executor,
        environment={**UNBUFFERED, MARK: str(run_dir.path), **sandbox.environment},
        inherits=environment.executor(settings.pass_env),
        ready=Speaks(handed.early_path),
        sockets=(socket, handed.early_path),
        handed=handed,
        writes_stacks=True,
        temporary=temporary,
        sandbox=sandbox.plan,
        labels={"group": executor_id.group, "generation": generation.number, "isolation": sandbox.label},
        cure=f"Its environment is {group.python.parents[1]}; `gatewright build` makes it again.",
    )


def engine(settings: NodeSettings, run_dir: RunDir, generation: Generation, roster: Roster) -> ProcessSpec:
    """The policy engine, which starts with these executors, and needs the rendered Gateway when it starts."""
    *_, admin = sockets = engine_sockets(run_dir)
    return ProcessSpec(
        name=ENGINE,
        component=ENGINE_COMPONENT,
        command=(str(generation.build.engine), *_engine_arguments(settings, run_dir, generation, roster, sockets)),
        environment={MARK: str(run_dir.path)},
        inherits=environment.engine(settings.pass_env),
        ready=Answers("/ready", socket=admin),
        scheduling=settings.engine_scheduling,
        alive=Answers("/healthz", socket=admin, any_status=True),
        silence_seconds=settings.silence_seconds,
        sockets=sockets,
        stop_seconds=settings.drain_seconds + STOP_SLACK_SECONDS,
        go_policies=generation.build.go_policies,
        cure=_engine_cure(settings),
    )


def engine_sockets(run_dir: RunDir, serial: int = 1, *, beside: bool = False) -> tuple[Path, ...]:
    """The engine's, for ext_proc, xDS and its admin.

    serial: of the Envoy with the engine inside; the present one and the next one exist at the same time. beside: the
    present one still has the admin socket's name.
    """
    number = f".{serial}" if serial > 1 else ""
    admin = f"engine-admin{number}" if beside else "engine-admin"
    return run_dir.socket(f"ext-proc{number}"), run_dir.socket(f"xds{number}"), run_dir.socket(admin)


def engine_process(settings: NodeSettings) -> str:
    """The name of the process that the engine runs in."""
    return ENVOY if settings.in_envoy else ENGINE


def with_engine(
    spec: ProcessSpec, settings: NodeSettings, run_dir: RunDir, generation: Generation, roster: Roster
) -> ProcessSpec:
    """The spec of the process that the engine runs in, with an engine that starts with another generation.

    spec: the present one.
    """
    if settings.in_envoy:
        return inside(spec, settings, run_dir, generation, roster)
    return engine(settings, run_dir, generation, roster)


def inside(
    spec: ProcessSpec,
    settings: NodeSettings,
    run_dir: RunDir,
    generation: Generation,
    roster: Roster,
    sockets: tuple[Path, ...] = (),
) -> ProcessSpec:
    """Envoy's spec, with the engine inside of its process: Envoy loads the build's library, which reads its arguments
    from the bootstrap. sockets: the engine's; by default those of the spec. Raises BootstrapError.
    """
    sockets = sockets or (spec.guest.sockets if spec.guest else engine_sockets(run_dir))
    admin, proxy = sockets[-1], spec.relay or spec.sockets[0]
    modules = generation.build.module.parent.resolve()  # outlives the generation, as long as the engine is the same

    def write_bootstrap(arguments: tuple[str, ...]) -> None:
        _write_bootstrap(settings, run_dir, spec.sockets[0], sockets, bootstrap.engine_extension(arguments))

    arguments = ("--in-envoy", *_engine_arguments(settings, run_dir, generation, roster, sockets))
    write_bootstrap(arguments)
    return replace(
        spec,
        environment={
            **ENVOY_CLOCK,
            MARK: str(run_dir.path),
            MODULES_VARIABLE: str(modules),
        },
        inherits=environment.engine(settings.pass_env),
        ready=All((Answers("/ready", socket=admin), Answers("/ready", socket=proxy))),
        alive=All(
            (
                Answers("/healthz", socket=admin, any_status=True),
                Answers("/ready", socket=proxy, any_status=True),
            )
        ),
        guest=Guest(ENGINE, ENGINE_COMPONENT, arguments, write_bootstrap, sockets),
        unshown=(*ENVOY_UNSHOWN, ENGINE_ENDS),
        go_policies=generation.build.go_policies,
        stop_seconds=settings.drain_seconds + STOP_SLACK_SECONDS,
        cure=f"{spec.cure.partition(' The engine')[0]} The engine is inside: {_engine_cure(settings)}",
    )


def beside(
    spec: ProcessSpec, settings: NodeSettings, run_dir: RunDir, generation: Generation, roster: Roster, serial: int
) -> tuple[ProcessSpec, ProcessSpec]:
    """The specs of another Envoy with another engine, which takes the place of the present one: as it starts beside it,
    and once it has the present one's name and sockets. Raises BootstrapError.

    spec: the present one. serial: another one for each Envoy of a run.
    """
    own = run_dir.socket(f"envoy-{secrets.token_hex(8)}")
    relay = run_dir.socket(f"envoy-admin.{serial}") if spec.relay else None
    fresh = replace(spec, name=f"{ENVOY}.{serial}", component=ENVOY, sockets=(own,), relay=relay)
    places = generation, roster
    starting = inside(fresh, settings, run_dir, *places, engine_sockets(run_dir, serial, beside=True))
    assert starting.guest is not None
    starting = replace(starting, guest=replace(starting.guest, name=f"{ENGINE}.{serial}"))
    serving = inside(replace(spec, sockets=(own,)), settings, run_dir, *places, engine_sockets(run_dir, serial))
    return starting, serving


def leaving(present: ProcessSpec, starting: ProcessSpec, serial: int, drain: Drain) -> ProcessSpec:
    """The spec of an Envoy that another one has replaced. starting: that one's, as it started."""
    guest = present.guest
    assert guest is not None
    guest = replace(guest, name=f"{ENGINE}.{serial}", sockets=guest.sockets[:-1])
    return replace(present, name=f"{ENVOY}.{serial}", component=ENVOY, relay=starting.relay, guest=guest, drain=drain)


def _engine_cure(settings: NodeSettings) -> str:
    return f"Its last good state is in {settings.state_dir / ENGINE_STATE}; another --state-dir starts without one."


def _engine_arguments(
    settings: NodeSettings, run_dir: RunDir, generation: Generation, roster: Roster, sockets: tuple[Path, ...]
) -> tuple[str, ...]:
    ext_proc, xds, admin = sockets
    options: Flags = {
        "manifest": str(generation.build.manifest),
        "ext-proc": f"unix:{ext_proc}",
        "xds": f"unix:{xds}",
        "admin": f"unix:{admin}",
        "peers": str(run_dir.peers),
        "node-id": settings.node_id,
        "state-dir": str(settings.state_dir / ENGINE_STATE),
        "gateway": str(run_dir.path / gateway.RENDERED),
        "drain-timeout": _duration(settings.drain_seconds),
        "executor-drain": _duration(settings.executor_drain_seconds),
        "generation": str(generation.number),
        "body-memory": str(settings.edge.bodies),
        "request-limit": _duration(settings.edge.request_seconds),
        "memory-limit": str(settings.edge.engine),
        "log-level": settings.log_level,
    }
    if settings.secrets:
        options["secrets"] = str(settings.secrets)
    if settings.controller:
        options["controller"] = f"unix:{run_dir.socket('controller')}"
    else:  # a controller elsewhere, here or in --pe.controller, is another run's, with other ports
        if settings.joined is None or not settings.joined.gives_gateway:
            options["keep-gateway"] = None
        options |= settings.joined.engine_options if settings.joined else {}
    places = run_dir.write(state_sources.FILE, settings.states.lines)
    options |= settings.states.engine_options(places)
    executors = [f"{group}={','.join(places)}" for group, places in addresses(roster).items()]
    return (
        *command_line(options, settings.forwarded.pe),
        *(word for label in _labels(settings) for word in ("--node-label", label)),
        *(word for source in metrics_sources(settings, run_dir) for word in ("--metrics-source", source)),
        *(word for executor in executors for word in ("--executor", executor)),
    )


def _labels(settings: NodeSettings) -> list[str]:
    return [f"{key}={value}" for key, value in settings.node_labels.items()]


def _last_good(settings: NodeSettings) -> Path:
    """What is there if the node serves without the controller's database. A node that starts from another place's state
    always does."""
    return settings.state_dir if settings.states.places else settings.state_dir / ENGINE_STATE / LAST_GOOD


def metrics_sources(settings: NodeSettings, run_dir: RunDir) -> list[str]:
    """The processes whose metrics the engine serves with its own: NAME=unix:PATH:/path."""
    sources = [
        f"envoy=unix:{run_dir.socket('envoy-admin')}:/stats/prometheus",
        f"supervisor=unix:{run_dir.socket(SUPERVISOR_METRICS)}",
    ]
    if settings.controller:
        sources.append(f"controller=unix:{run_dir.socket(CONTROLLER_METRICS)}")
    return sources


def envoy(settings: NodeSettings, run_dir: RunDir) -> ProcessSpec:
    """Envoy; also writes its bootstrap into the run directory. Raises BootstrapError."""
    admin = envoy_admin_socket(run_dir)
    own = run_dir.socket(f"envoy-{secrets.token_hex(8)}")  # the relay unlinks this name as soon as it exists
    written = _write_bootstrap(settings, run_dir, own, engine_sockets(run_dir))
    options: Flags = {
        "config-path": str(written),
        "disable-hot-restart": None,
        "drain-time-s": str(ENVOY_DRAIN_SECONDS),
        "drain-strategy": "immediate",
        "log-level": "warning",
        "log-format": ENVOY_LOG,
        "file-flush-interval-msec": str(ACCESS_FLUSH_MS),
    }
    drain_time = settings.forwarded.envoy.get("drain-time-s") or ""
    accepts_seconds = float(drain_time) if drain_time.isdecimal() else None
    return ProcessSpec(
        name=ENVOY,
        command=(str(settings.envoy), *command_line(options, settings.forwarded.envoy)),
        ready=Answers("/ready", socket=admin),
        environment=ENVOY_CLOCK,
        inherits=environment.ENVOY,
        alive=Answers("/ready", socket=admin, any_status=True),
        silence_seconds=settings.silence_seconds,
        writes_access_log=True,
        unshown=ENVOY_UNSHOWN,
        sockets=(own,),
        relay=admin,
        listen=settings.gateway.addresses,
        drain=EnvoyDrain(admin, settings.drain_seconds, accepts_seconds),
        cure=f"Its bootstrap is made from {settings.bootstrap_template}.",
    )


def envoy_admin_socket(run_dir: RunDir) -> Path:
    """Where Envoy's admin interface is reached: the supervisor's socket in front of Envoy's own."""
    return run_dir.socket("envoy-admin")


def _write_bootstrap(
    settings: NodeSettings, run_dir: RunDir, own_admin: Path, engine: tuple[Path, ...], extension: str = ""
) -> Path:
    ext_proc, xds, _ = engine
    fields = {
        "node_id": settings.node_id,
        "max_connections": str(settings.gateway.connections or settings.edge.connections),
        "envoy_heap_bytes": str(settings.gateway.heap or settings.edge.heap),
        "admin_socket": str(own_admin),
        "ext_proc_socket": str(ext_proc),
        "xds_socket": str(xds),
        "challenges_socket": str(run_dir.socket(CHALLENGES)),
    }
    return run_dir.write("bootstrap.yaml", bootstrap.render(settings.bootstrap_template, fields, extension))


def _duration(seconds: float) -> str:
    """A duration as Envoy and Go parse it: never with an exponent."""
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"
