"""`gatewright replay`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gatewright_cli.commands.options import A_PATH, IMPORT_LIMIT
from gatewright_cli.commands.units import DURATION
from gatewright_cli.mistakes import PreflightError

if TYPE_CHECKING:
    from gatewright_cli.replaying.candidate import Candidate
    from gatewright_cli.replaying.child_process import Replayed
    from gatewright_cli.replaying.inputs import Input
    from gatewright_cli.replaying.parameters import Parameters

USAGE = 2


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=A_PATH)
@click.option("--policy", metavar="FOLDER", type=A_PATH, help="The folder of the policy to run.")
@click.option("--build", metavar="DIR", type=A_PATH, help="Run all Python policies of this build output instead.")
@click.option("--params", metavar="JSON|FILE", help="Parameters of the policy: a JSON object, or a file of it.")
@click.option("--api", metavar="FILE", type=A_PATH, help="The Api whose attachments have the parameters.")
@click.option("--system-params", metavar="JSON|FILE", help="The policy's system parameters, in the same forms.")
@click.option("--header", "headers", metavar="NAME=VALUE", multiple=True,
              help="A client's header whose value was redacted in the recording; repeatable.",
)  # fmt: skip
@click.option("--timeout", type=DURATION, default="10s", show_default=True, help="How long one exchange may take.")
@IMPORT_LIMIT
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each exchange.")
@click.pass_context
def replay(
    context: click.Context,
    paths: tuple[Path, ...],
    policy: Path | None,
    build: Path | None,
    params: str | None,
    api: Path | None,
    system_params: str | None,
    headers: tuple[str, ...],
    timeout: float,
    import_limit: float,
    as_json: bool,
) -> None:
    """Run a policy's code on recorded exchanges, and show what it would do differently.

    PATH is a file of `gatewright record`, a file with a line for each exchange (`gatewright tail --json`), or a folder
    of such files. Exchanges in which the policy did not run are skipped. Recordings hold no parameters: set them with
    --params or --api, or the policy's defaults apply.

    Exit status 0: nothing differs. 1: something does, or an exchange could not be replayed. 2: nothing was replayed.
    """
    if (policy is None) == (build is None):
        raise click.UsageError("expected one of --policy and --build")
    if build is not None and (params or system_params):
        raise click.UsageError("--params and --system-params are of one policy: with --build, expected --api")
    supplied = {"headers": dict(map(_header, headers))}
    try:
        options = ReplayOptions(_parameters(params, api, system_params), supplied, timeout, import_limit, as_json)
        same = _run(paths, _candidates(policy, build, import_limit), options)
    except PreflightError as error:
        for mistake in error.mistakes:
            click.echo(f"error: {mistake}", err=True)
        context.exit(USAGE)
    context.exit(0 if same else 1)


@dataclass(frozen=True)
class ReplayOptions:
    """How to replay. supplied: values that recordings lack. seconds: how long one exchange may take; import_seconds:
    how long the import of the policy may take.
    """

    parameters: Parameters
    supplied: Mapping[str, object]
    seconds: float
    import_seconds: float
    as_json: bool


def _header(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"--header: expected NAME=VALUE, got {text}")
    return name, value


def _candidates(policy: Path | None, build: Path | None, import_seconds: float) -> list[Candidate]:
    from gatewright_cli.replaying import candidate

    if policy is not None:
        return [candidate.of_folder(policy, import_seconds)]
    assert build is not None
    return candidate.of_build(build)


def _parameters(params: str | None, api: Path | None, system: str | None) -> Parameters:
    from gatewright_cli.replaying.parameters import Parameters, read_api, read_params

    return Parameters(
        read_params(params) if params else None,
        read_api(api) if api else None,
        read_params(system, "--system-params") if system else None,
    )


def _run(paths: tuple[Path, ...], candidates: list[Candidate], options: ReplayOptions) -> bool:
    """Replays the exchanges with each candidate. Returns whether nothing differs."""
    from gatewright_cli.replaying.inputs import read_inputs

    inputs = read_inputs(paths)
    own = {candidate.key: [item for item in inputs if item.attachments(candidate.name)] for candidate in candidates}
    if not any(own.values()):
        names = ", ".join(candidate.name for candidate in candidates)
        had = ", ".join(sorted({key for item in inputs for key in item.exchange.policies})) or "none"
        raise PreflightError([f"expected an exchange in which {names} ran; their policies are {had}"])
    same = [_replay_candidate(candidate, own[candidate.key], options) for candidate in candidates if own[candidate.key]]
    if skipped := len(inputs) - len({item.name for items in own.values() for item in items}):
        click.echo(f"{skipped} exchange{'' if skipped == 1 else 's'} skipped: the policy did not run in them", err=True)
    return all(same)


def _replay_candidate(candidate: Candidate, inputs: list[Input], options: ReplayOptions) -> bool:
    from gatewright_cli.exchanges.paint import Paint
    from gatewright_cli.replaying import report
    from gatewright_cli.replaying.child_process import Job, replay

    parameters = options.parameters
    with_parameters = [(parameters.with_paths(item), parameters.of(candidate, item.exchange)) for item in inputs]
    results: list[Replayed] = []
    paint = Paint.of(sys.stdout)
    operators = options.parameters.of_operator(candidate)
    job = Job(candidate, options.supplied, options.seconds, operators, options.import_seconds)
    for replayed in replay(job, with_parameters):
        results.append(replayed)
        if options.as_json:
            click.echo(report.as_json(candidate.key, replayed))
    if not options.as_json:
        for line in report.report(candidate.key, results, paint):
            click.echo(line, color=paint.colours)
    return not any(replayed.error or replayed.differences for replayed in results)
