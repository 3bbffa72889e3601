"""The names of resources, completed from the controller while a person types a command."""

from __future__ import annotations

import click

from gatewright_cli.commands.resources.kinds import Kind

ANSWER_SECONDS = 1.5
"""A person waits for it."""


def complete_names(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """The names that begin so and have not been typed yet; none if the controller does not answer in time."""
    import asyncio

    from gatewright_cli.clients.controller_refusals import DeployError
    from gatewright_cli.commands.options import pop_controller
    from gatewright_cli.commands.resources.fetching import fetch_list, find_resources
    from gatewright_cli.mistakes import PreflightError

    kind, options = context.params.get("kind"), dict(context.params)
    if not isinstance(kind, Kind) or kind.is_single:
        return []
    try:
        source = find_resources(options.get("run_dir"), pop_controller(options), ANSWER_SECONDS)
        names = map(kind.name_of, asyncio.run(fetch_list(source, kind)))
    except (DeployError, PreflightError):  # a shell that completes shows no mistakes
        return []
    typed = context.params.get("names") or ()
    return [name for name in names if name.startswith(incomplete) and name not in typed]
