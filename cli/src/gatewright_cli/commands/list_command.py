"""`gatewright list`."""

from __future__ import annotations

from pathlib import Path

import click

from gatewright_cli.commands.options import NamedController
from gatewright_cli.commands.resources.kinds import Kind, KindType
from gatewright_cli.commands.resources.showing import select, show, showing


@click.command("list")
@click.argument("kind", type=KindType())
@showing
def list_(
    kind: Kind,
    output: str,
    state: str | None,
    labels: tuple[str, ...],
    owner: str | None,
    run_dir: Path | None,
    controller: NamedController | None,
) -> None:
    """Print all resources of a kind: as `gatewright get` without a name."""
    show(select(kind, (), state, labels, owner, output), run_dir, controller)
