"""The command line: the commands, and errors as sentences."""

from __future__ import annotations

import builtins
import functools
import importlib
import keyword
import pkgutil
import sys
from collections.abc import Sequence

import click
from gatewright import __version__

from gatewright_cli import commands
from gatewright_cli.mistakes import PreflightError

SUFFIX = "_command"
"""Of the modules that are commands."""


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"gatewright {__version__}")
        context.exit()


class Commands(click.Group):
    """The commands: one for each module commands/NAME_command.py, which is imported when it is asked for. The command
    has the module's NAME, with a `_` behind it where Python has a word or a function of that name.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return self._names

    @functools.cached_property
    def _names(self) -> list[str]:
        modules = (module.name for module in pkgutil.iter_modules(commands.__path__))
        return sorted(name.removesuffix(SUFFIX).replace("_", "-") for name in modules if name.endswith(SUFFIX))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = self.list_commands(ctx)
        if args[0] not in known and not args[0].startswith("-") and not ctx.resilient_parsing:
            ctx.fail(f"expected a command ({', '.join(known)}), got {args[0]}")
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        name = cmd_name.replace("-", "_")
        module = importlib.import_module(f"{commands.__name__}.{name}{SUFFIX}")
        is_pythons = keyword.iskeyword(name) or hasattr(builtins, name)
        command: click.Command = getattr(module, f"{name}_" if is_pythons else name)
        return command


@click.group(cls=Commands)
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version, help="Print it.")
def cli() -> None:
    """An API gateway whose policies are plain Python functions, beside Go ones, on a real Envoy."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point. Mistakes that the user can correct go to stderr, a sentence each, and give the exit status.

    arguments: those of the process by default.
    """
    try:
        cli(arguments, prog_name="gatewright")
    except PreflightError as error:
        for mistake in error.mistakes:
            click.echo(f"error: {mistake}", err=True)
        sys.exit(error.status)
