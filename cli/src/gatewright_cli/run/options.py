"""The options of `gatewright run`, and their defaults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from gatewright_cli import api_files
from gatewright_cli.addresses import http_address, split_address
from gatewright_cli.api_files import ApiFile, ApiFileError, RefusedFile
from gatewright_cli.isolation.levels import Level
from gatewright_cli.node.executors.recycling import Limits
from gatewright_cli.node.files.controller_tls import ControllerTls
from gatewright_cli.node.files.joined_controller import JoinedController
from gatewright_cli.node.files.state_sources import StateListen, StateSources
from gatewright_cli.node.listeners import gateway, ports
from gatewright_cli.node.listeners.gateway import Listener
from gatewright_cli.node.listeners.ports import ECHO_HOST, ECHO_NAMES, ECHO_PORT, Place
from gatewright_cli.node.specs.edge import HEADER_SECONDS, Edge, edge
from gatewright_cli.supervision.logs.output import LogFormat
from gatewright_cli.supervision.logs.records import LogLevel
from gatewright_cli.supervision.specs import Scheduling

APIS = "apis"
SECRETS = "secrets"
PORT_OPTION = "--port"
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Options:
    """The options of `gatewright run`, by their names on the command line."""

    manifest: Path
    output: Path
    import_limit: float
    engine: Literal["ext-proc", "in-envoy"]
    build_output: Path | None
    gateway: Path | None
    secrets: Path | None
    host: str | None
    port: int | None
    controller_host: str
    controller_port: int
    controller_tls_certificate: Path | None
    controller_tls_key: Path | None
    nodes_listen: str | None
    nodes_authority: Path | None
    no_controller: bool
    join: str | None
    join_authority: Path | None
    join_token_file: Path | None
    join_certificate: Path | None
    join_key: Path | None
    join_gateway: bool
    state_dir: Path
    state_from: tuple[str, ...]
    state_authority: Path | None
    state_oldest: float | None
    state_token_file: Path | None
    state_tls_authority: Path | None
    state_listen: str | None
    state_listen_certificate: Path | None
    state_listen_key: Path | None
    state_key: Path | None
    state_export: str | None
    run_dir: Path | None
    apis: Path | None
    files_only: bool
    with_echo: bool | None
    echo_port: int
    executors: int
    node_id: str | None
    node_labels: tuple[tuple[str, str], ...]
    bootstrap: Path | None
    access_log: str | None
    access_log_sample: float | None
    underscored_headers: str | None
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
    admin_port: int | None
    engine_scheduling: Scheduling
    isolation: Level
    executor_uids: tuple[int, int]
    executor_open_files: int
    executor_file_size: float
    executor_processes: int
    strict: bool
    pass_env: tuple[str, ...]

    @property
    def in_envoy(self) -> bool:
        """Whether the engine runs inside of Envoy's process."""
        return self.engine == "in-envoy"

    @property
    def joined(self) -> JoinedController | None:
        """The controller elsewhere; None for none."""
        if self.join is None:
            return None
        files = self.join_authority, self.join_token_file, self.join_certificate, self.join_key
        return JoinedController(self.join, *files, gives_gateway=self.join_gateway)

    @property
    def states(self) -> StateSources:
        """The places of states that the node starts from, where it has none."""
        files = self.state_token_file, self.state_tls_authority
        listen = StateListen(self.state_listen, self.state_listen_certificate, self.state_listen_key)
        return StateSources(self.state_from, self.state_authority, self.state_oldest, *files, listen)

    @property
    def edge(self) -> Edge:
        """The limits that protect the node from its clients."""
        return edge(self.memory, self.body_memory, self.request_limit, self.max_connections)

    @property
    def of_gateway(self) -> dict[str, object]:
        """The options that override the Gateway, under the names of `gateway_file.effective`."""
        options = {
            "host": self.host,
            "port": self.port,
            "access_log": self.access_log,
            "access_log_sample": self.access_log_sample,
            "underscored_headers": self.underscored_headers,
            "max_connections": self.max_connections,
            "admin_port": self.admin_port,
        }
        if self.edge.header_seconds < HEADER_SECONDS:
            options["request_headers_timeout"] = f"{max(1, round(self.edge.header_seconds * 1000))}ms"
        return {name: value for name, value in options.items() if value is not None}

    @property
    def limits(self) -> Limits:
        """When executor processes are replaced."""
        resident = None if self.executor_memory_limit is None else int(self.executor_memory_limit)
        return Limits(self.recycle_after, self.recycle_executions, resident, self.hung_limit, self.health_limit)


def with_defaults(options: Options) -> Options:
    """The options with defaults from the manifest's folder: `apis` and `gateway.yaml` in it, and the echo if an API
    names it.
    """
    options = replace(options, no_controller=options.no_controller or options.join is not None)
    written = gateway_place(options)
    if written is not None and written.is_file():
        options = replace(options, gateway=written)
    beside = options.manifest.parent / APIS
    if options.apis is None and not (options.build_output or options.no_controller) and beside.is_dir():
        options = replace(options, apis=beside)
    if options.with_echo is None:
        options = replace(options, with_echo=options.apis is not None and _names_a_free_echo(options, options.apis))
    return options


def gateway_place(options: Options) -> Path | None:
    """The path of the Gateway's file, which may not exist yet; None: the run has no place for one."""
    if options.gateway is not None:
        return options.gateway.absolute()
    return None if options.build_output else options.manifest.parent.absolute() / gateway.FILE


def files_place(options: Options) -> Path | None:
    """The folder that the controller takes all APIs from; None: the management API writes them."""
    return options.apis.absolute() if options.files_only and options.apis else None


def secrets_place(options: Options) -> Path | None:
    """The folder of the secrets' files, which may not exist yet; None: the run has no place for one."""
    if options.secrets is not None:
        return options.secrets.absolute()
    return None if options.build_output else options.manifest.parent.absolute() / SECRETS


def controller_tls(options: Options) -> ControllerTls | None:
    """TLS of the run's controller; None: it speaks HTTP in clear."""
    certificate, key = options.controller_tls_certificate, options.controller_tls_key
    if options.no_controller or certificate is None or key is None:
        return None
    return ControllerTls(certificate.absolute(), key.absolute())


def _names_a_free_echo(options: Options, apis: Path) -> bool:
    """Whether an API's upstream is at the echo's default port or at --echo-port, and that port is free."""
    try:
        upstreams = {http_address(url) for api in api_files.load(apis).apis for url in api.upstreams}
    except ApiFileError:
        return False  # the preflight check reports it
    named = {port for host, port in filter(None, upstreams) if host in ECHO_NAMES}
    return any(ports.obstacle(ECHO_HOST, port) is None for port in named & {ECHO_PORT, options.echo_port})


def with_ports(options: Options) -> Options:
    """The options with each port 0 replaced by a free one."""
    return replace(
        options,
        port=ports.free_port(options.host or HOST) if options.port == 0 else options.port,
        controller_port=options.controller_port or ports.free_port(options.controller_host),
        echo_port=options.echo_port or ports.free_port(ECHO_HOST),
    )


def with_echo_port(options: Options, api: ApiFile) -> ApiFile:
    """The API, with upstreams at the echo's default port moved to --echo-port, if the echo runs."""
    return api_files.move_upstreams(api, ECHO_NAMES, ECHO_PORT, options.echo_port) if options.with_echo else api


def read_again(options: Options, path: Path) -> list[ApiFile | RefusedFile]:
    """The documents of an API file as it is now, with upstreams at the echo's default port moved to --echo-port."""
    return [with_echo_port(options, file) if isinstance(file, ApiFile) else file for file in api_files.read(path)]


def listeners(options: Options, on: Sequence[Listener]) -> dict[str, Place]:
    """The places that this run will listen on, by the option or listener that chooses the port. on: the Gateway's."""
    places = {}
    for at, listener in enumerate(on):
        chosen_here = at == 0 and (options.gateway is None or options.port is not None)
        places[PORT_OPTION if chosen_here else f"{options.gateway}, listener {listener.name}"] = Place(
            listener.host, listener.port, udp=listener.http3
        )
    if not options.no_controller:
        places["--controller-port"] = Place(options.controller_host, options.controller_port)
    if options.state_listen:
        places["--state-listen"] = Place(*split_address(options.state_listen))
    if options.with_echo:
        places["--echo-port"] = Place(ECHO_HOST, options.echo_port)
    return places
