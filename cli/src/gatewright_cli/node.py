"""What a node consists of: its processes, in the order in which they start (ARCHITECTURE.md, "Processes of a node")."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from gatewright_cli import bootstrap
from gatewright_cli.build_output import BuildOutput
from gatewright_cli.forwarded import Flags, Forwarded, command_line
from gatewright_cli.ports import join_address, url
from gatewright_cli.probes import Accepts, Answers, EnvoyDrain
from gatewright_cli.run_dir import RunDir
from gatewright_cli.specs import ProcessSpec

ENVOY_LOG = '{"time":"%Y-%m-%dT%T.%e%z","level":"%l","component":"envoy","message":"%j"}'
ENVOY_DRAIN_SECONDS = 1
STOP_SLACK_SECONDS = 5.0
UNBUFFERED = {"PYTHONUNBUFFERED": "1"}


@dataclass(frozen=True)
class NodeSettings:
    """What to run and where.

    host, port: where Envoy listens. controller, echo: HOST:PORT, or None to start none.
    executors: processes for each group of Python policies. drain_seconds: how long requests may take to end at a stop.
    """

    build: BuildOutput
    state_dir: Path
    envoy: Path
    bootstrap_template: Path
    node_id: str
    host: str = "127.0.0.1"
    port: int = 8080
    controller: str | None = "127.0.0.1:9090"
    echo: str | None = None
    executors: int = 1
    access_log: str = "/dev/stdout"
    drain_seconds: float = 10.0
    forwarded: Forwarded = field(default_factory=Forwarded)

    @property
    def address(self) -> str:
        return join_address(self.host, self.port)

    @property
    def url(self) -> str:
        """Where a client on this machine reaches the gateway."""
        return url(self.address)


def processes(settings: NodeSettings, run_dir: RunDir) -> list[ProcessSpec]:
    """All processes of a node; also writes Envoy's bootstrap into the run directory."""
    executors = executor_sockets(settings, run_dir)
    return [
        *([controller(settings, run_dir)] if settings.controller else []),
        *([echo(settings.echo)] if settings.echo else []),
        *(executor(settings, name, socket) for sockets in executors.values() for name, socket in sockets.items()),
        engine(settings, run_dir, {group: list(sockets.values()) for group, sockets in executors.items()}),
        envoy(settings, run_dir),
    ]


def executor_sockets(settings: NodeSettings, run_dir: RunDir) -> dict[str, dict[str, Path]]:
    """group → process name → socket. Empty without Python policies."""
    return {
        group: {name: run_dir.socket(name) for name in _executor_names(group, settings.executors)}
        for group in settings.build.groups
    }


def controller(settings: NodeSettings, run_dir: RunDir) -> ProcessSpec:
    address, socket = settings.controller or "", run_dir.socket("controller")
    options: Flags = {
        "listen": address,
        "node-listen": f"unix:{socket}",
        "definitions": str(settings.build.definitions),
        "database": f"sqlite:{settings.state_dir / 'controller.db'}",
    }
    return ProcessSpec(
        name="controller",
        command=(sys.executable, "-m", "gatewright_controller", *command_line(options, {})),
        environment=UNBUFFERED,
        ready=Answers("/healthz", base=url(address)),
        sockets=(socket,),
        listen=address,
        cure=f"Its database is in {settings.state_dir}; another --state-dir starts with none.",
    )


def echo(address: str) -> ProcessSpec:
    return ProcessSpec(
        name="echo",
        command=(sys.executable, "-m", "gatewright_cli", "echo", "--listen", address),
        environment=UNBUFFERED,
        ready=Accepts(address=address),
        listen=address,
        stop_seconds=3.0,
    )


def executor(settings: NodeSettings, name: str, socket: Path) -> ProcessSpec:
    options: Flags = {"listen": f"unix:{socket}", "workers": "32"}
    build = settings.build
    return ProcessSpec(
        name=name,
        command=(str(build.executor_python), "main.py", *command_line(options, settings.forwarded.py)),
        cwd=build.executor,
        environment=UNBUFFERED,
        ready=Accepts(path=socket),
        sockets=(socket,),
        cure=f"Its environment is {build.path / 'python-env'}; `gatewright build` makes it again.",
    )


def engine(settings: NodeSettings, run_dir: RunDir, executors: dict[str, list[Path]]) -> ProcessSpec:
    ext_proc, xds, admin = (run_dir.socket(name) for name in ("ext-proc", "xds", "engine-admin"))
    options: Flags = {
        "manifest": str(settings.build.manifest),
        "ext-proc": f"unix:{ext_proc}",
        "xds": f"unix:{xds}",
        "admin": f"unix:{admin}",
        "node-id": settings.node_id,
        "state-dir": str(settings.state_dir / "engine"),
        "drain-timeout": f"{settings.drain_seconds:g}s",
    }
    if settings.controller:
        options["controller"] = f"unix:{run_dir.socket('controller')}"
    return ProcessSpec(
        name="engine",
        command=(
            str(settings.build.engine),
            *command_line(options, settings.forwarded.pe),
            *(word for group, sockets in executors.items() for word in ("--executor", _executor_value(group, sockets))),
        ),
        ready=Answers("/ready", socket=admin),
        sockets=(ext_proc, xds, admin),
        stop_seconds=settings.drain_seconds + STOP_SLACK_SECONDS,
        cure=f"Its last good state is in {settings.state_dir / 'engine'}; another --state-dir starts with none.",
    )


def envoy(settings: NodeSettings, run_dir: RunDir) -> ProcessSpec:
    admin, ext_proc, xds = (run_dir.socket(name) for name in ("envoy-admin", "ext-proc", "xds"))
    fields = {
        "host": settings.host,
        "port": str(settings.port),
        "node_id": settings.node_id,
        "access_log": settings.access_log,
        "admin_socket": str(admin),
        "ext_proc_socket": str(ext_proc),
        "xds_socket": str(xds),
    }
    written = run_dir.write("bootstrap.yaml", bootstrap.render(settings.bootstrap_template, fields))
    options: Flags = {
        "config-path": str(written),
        "disable-hot-restart": None,
        "drain-time-s": str(ENVOY_DRAIN_SECONDS),
        "drain-strategy": "immediate",
        "log-level": "warning",
        "log-format": ENVOY_LOG,
    }
    drain_time = settings.forwarded.envoy.get("drain-time-s") or ""
    accepts_seconds = int(drain_time) if drain_time.isdecimal() else ENVOY_DRAIN_SECONDS
    return ProcessSpec(
        name="envoy",
        command=(str(settings.envoy), *command_line(options, settings.forwarded.envoy)),
        ready=Answers("/ready", socket=admin),
        sockets=(admin,),
        listen=settings.address,
        drain=EnvoyDrain(admin, settings.drain_seconds, accepts_seconds),
        cure=f"Its bootstrap is made from {settings.bootstrap_template}.",
    )


def _executor_names(group: str, count: int) -> list[str]:
    return [f"executor-{group}-{number}" for number in range(count)]


def _executor_value(group: str, sockets: list[Path]) -> str:
    return f"{group}={','.join(f'unix:{socket}' for socket in sockets)}"
