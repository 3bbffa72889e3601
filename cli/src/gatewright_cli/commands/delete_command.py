"""`gatewright delete`."""

from __future__ import annotations

from pathlib import Path

import click

from gatewright_cli.commands.options import REASON, RUN_DIR, NamedController, controller_options
from gatewright_cli.commands.resources.kinds import SERVED_KINDS, WRITTEN_KINDS, Kind, KindType
from gatewright_cli.commands.resources.names import complete_names
from gatewright_cli.commands.units import DURATION


@click.command()
@click.argument("kind", type=KindType(WRITTEN_KINDS))
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_names)
@click.option("--revision", type=click.IntRange(1), help="Delete it only if it still has this revision.")
@REASON
@RUN_DIR
@controller_options
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until no node serves it.")
@click.option("--timeout", type=DURATION, default="30s", show_default=True, help="How long to wait for that.")
@click.pass_context
def delete(
    context: click.Context,
    kind: Kind,
    names: tuple[str, ...],
    revision: int | None,
    reason: str,
    run_dir: Path | None,
    controller: NamedController | None,
    wait: bool,
    timeout: float,
) -> None:
    """Delete APIs, Secrets, Defaults or other resources by their names, or the Gateway that was written to the
    controller. The controller is named on stderr. A Secret that an API names is not deleted.

    Without its Gateway, the controller's nodes listen again on what they were started with.

    Exit status 3 if a name is not there, 4 if it has another revision, 5 if a node still serves it when time is up.
    """
    from gatewright_cli.commands.resources.deleting import Deletion, delete_resources

    if revision is not None and len(names) != 1:
        raise click.UsageError(f"--revision: expected one NAME with it, got {len(names)}")
    deletion = Deletion(kind, names, revision, timeout if wait and kind in SERVED_KINDS else 0.0, reason)
    context.exit(delete_resources(deletion, run_dir, controller))
