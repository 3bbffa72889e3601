"""`gatewright policy`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from gatewright_cli.commands.options import A_PATH


@click.command()
@click.argument("name", required=False)
@click.option(
    "--build", type=A_PATH, help="A build output, to show its policies: your own too. [default: the policies that ship]"
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print it as JSON: the definition of a policy, or a list of them."
)
def policy(name: str | None, build: Path | None, as_json: bool) -> None:
    """List the policies that ship, or describe one: what it does, its parameters, and how an API attaches it.

    NAME is a policy's name; NAME:v1 and NAME:v1.2.3 select a version, where a build has several.
    """
    from gatewright_cli.commands.policies.known import find_policy, known_policies
    from gatewright_cli.commands.policies.page import overview, page, summary
    from gatewright_cli.exchanges.paint import Paint

    paint = Paint.of(sys.stdout)
    if name is None:
        known = known_policies(build)
        content: object = [summary(listed) for listed in known]
        lines = overview(known, paint)
    else:
        chosen, versions = find_policy(name, build)
        content, lines = chosen.content, page(chosen, versions, paint)
    if as_json:
        click.echo(json.dumps(content, indent=2, ensure_ascii=False))
        return
    for line in lines:
        click.echo(line, color=paint.colours)
