"""`gatewright completion`."""

from __future__ import annotations

import click

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_GATEWRIGHT_COMPLETE"
"""By which a shell asks for completions; click reads it."""


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the program by which a shell completes commands, options, contexts and names of resources.

    \b
    bash, in ~/.bashrc: eval "$(gatewright completion bash)"
    zsh, in ~/.zshrc: eval "$(gatewright completion zsh)"
    fish: gatewright completion fish > ~/.config/fish/completions/gatewright.fish

    Names come from the controller that the command line names so far; none if it does not answer within 1.5 s.
    """
    from click.shell_completion import get_completion_class

    shell_class, root = get_completion_class(shell), context.find_root()
    assert shell_class
    click.echo(shell_class(root.command, {}, "gatewright", VARIABLE).source())
