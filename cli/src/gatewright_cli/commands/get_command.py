"""`gatewright get`."""

from __future__ import annotations

from pathlib import Path

import click

from gatewright_cli.commands.options import NamedController
from gatewright_cli.commands.resources.kinds import Kind, KindType
from gatewright_cli.commands.resources.names import complete_names
from gatewright_cli.commands.resources.showing import select, show, showing


@click.command()
@click.argument("kind", type=KindType())
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_names)
@showing
def get(
    kind: Kind,
    names: tuple[str, ...],
    output: str,
    state: str | None,
    labels: tuple[str, ...],
    owner: str | None,
    run_dir: Path | None,
    controller: NamedController | None,
) -> None:
    """Print resources of a controller: those of these names, or all of a kind.

    KIND is api, consumer, defaults, file, gateway, namespace, nodegateway, plan, secret, node or policy, or its
    plural. -o yaml prints what `gatewright apply` takes, without the controller's status; secrets are masked, and a
    mask that is applied keeps the secret. -o json has the status too.

        Exit status 3 if a name is not there, 6 if no controller answers, 7 if it refuses the token.
    """
    show(select(kind, names, state, labels, owner, output), run_dir, controller)
