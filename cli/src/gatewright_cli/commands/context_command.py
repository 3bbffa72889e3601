"""`gatewright context`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gatewright_cli.commands.options import A_PATH, RUN_DIR, complete_contexts, controller_options
from gatewright_cli.commands.resources.output import OUTPUT

if TYPE_CHECKING:
    from gatewright_cli.commands.options import NamedController


@click.group()
def context() -> None:
    """Keep the controllers that you work with, each under a name: in GATEWRIGHT_CONTEXTS, else
    ~/.config/gatewright/contexts.yaml, which only you can read.
    """


@context.command("list")
@OUTPUT
def list_contexts(output: str) -> None:
    """Print the contexts; tokens are masked, and the current one has a star."""
    from gatewright_cli.commands.contexts.listing import render

    click.echo(render(output), nl=False)


@context.command()
@click.argument("name")
@click.option("--url", required=True, help="The controller's: https://gateway.example:9443, http://127.0.0.1:9090.")
@click.option("--token-file", type=A_PATH, help="The file that has its token, which is read when it is needed.")
@click.option("--token-stdin", is_flag=True, help="Keep its token in the contexts file: the line on standard input.")
@click.option("--ca", type=A_PATH, help="PEM: the authorities that sign its certificate. [default: this system's]")
@click.option("--in-clear", is_flag=True, help="Send the token to another machine over http, unencrypted.")
@click.option("--use", is_flag=True, help="Make it the current context.")
@click.option("--replace", is_flag=True, help="Replace the context of this name.")
def add(
    name: str,
    url: str,
    token_file: Path | None,
    token_stdin: bool,
    ca: Path | None,
    in_clear: bool,
    use: bool,
    replace: bool,
) -> None:
    """Add a context. The controller is not asked."""
    from gatewright_cli.commands.contexts.changing import NewContext, add_context

    added = NewContext(name, url, token_file, token_stdin, ca, in_clear)
    click.echo(add_context(added, use=use, replace=replace))


@context.command()
@click.argument("name", required=False, shell_complete=complete_contexts)
@click.option(
    "--none", "is_none", is_flag=True, help="Make none the current one: commands use this folder's run again."
)
def use(name: str | None, is_none: bool) -> None:
    """Make a context the current one: commands use its controller unless an option or a variable names another."""
    from gatewright_cli.commands.contexts.changing import use_context

    if (name is None) != is_none:
        raise click.UsageError("expected NAME or --none")
    click.echo(use_context(name or ""))


@context.command()
@click.argument("name", shell_complete=complete_contexts)
def remove(name: str) -> None:
    """Remove a context. Its controller stays as it is."""
    from gatewright_cli.commands.contexts.changing import remove_context

    click.echo(remove_context(name))


@context.command()
@RUN_DIR
@controller_options
@click.option("--json", "as_json", is_flag=True, help="Print it as a JSON object.")
def show(run_dir: Path | None, controller: NamedController | None, as_json: bool) -> None:
    """Print which controller commands use here and now with these options, and what named it."""
    from gatewright_cli.commands.contexts.listing import render_choice

    click.echo(render_choice(run_dir, controller, as_json=as_json), nl=False)
