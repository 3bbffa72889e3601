"""The names of resources, completed from the controller while a person types a command."""

from __future__ import annotations

import click

from gatewright_cli.commands.resources.kinds import Kind

ANSWER_SECONDS = 1.5
"""A person waits for it."""


def complete_names(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """The names, of the kind that has been typed, that begin so and have not been typed yet."""
    kind = context.params.get("kind")
    return names_of_kind(context, kind, incomplete) if isinstance(kind, Kind) and not kind.is_single else []


def names_of_kind(context: click.Context, kind: Kind, incomplete: str) -> list[str]:
    """The names of this kind that begin so and have not been typed yet; none if the controller does not answer in
    time.
    """
    import asyncio

    from gatewright_cli.clients.controller_refusals import DeployError
    from gatewright_cli.commands.options import pop_controller
    from gatewright_cli.commands.resources.fetching import fetch_list, find_resources
    from gatewright_cli.mistakes import PreflightError

    options = dict(context.params)
    try:
        source = find_resources(options.get("run_dir"), pop_controller(options), ANSWER_SECONDS)
        names = map(kind.name_of, asyncio.run(fetch_list(source, kind)))
    except (DeployError, PreflightError):  # a shell that completes shows no mistakes
        return []
    typed = context.params.get("names") or ()
    return [name for name in names if name.startswith(incomplete) and name not in typed]
