"""Defaults and options that several commands share."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from gatewright_cli.commands.units import DURATION
from gatewright_cli.mistakes import PreflightError

MANIFEST = Path("build.yaml")
OUTPUT = Path("build/stock")
DEFINITIONS = "policy-definitions"
"""In a build output: NAME-VERSION.yaml."""
STATE_DIR = Path(".gatewright")
A_PATH = click.Path(path_type=Path)
"""Not checked by click: commands report a wrong path with all other mistakes."""
ANY_PATH = click.Path(path_type=Path, readable=False)
"""Also one that is there and that this user cannot read: the command says more of it than click does."""
IMPORT_LIMIT = click.option(
    "--import-limit",
    type=DURATION,
    default="60s",
    show_default=True,
    help="How long a build may take to import one policy.",
)
ENGINES = ("ext-proc", "in-envoy")
ENGINE = click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default="ext-proc",
    show_default=True,
    envvar="GATEWRIGHT_ENGINE",
    help="Where the policy engine runs. ext-proc: in a process of its own; in-envoy: inside Envoy's, which takes a C"
    " compiler to build and Envoy 1.40. Also by GATEWRIGHT_ENGINE.",
)
RUN_DIR = click.option(
    "--run-dir",
    type=A_PATH,
    help="The run directory of the node. [default: GATEWRIGHT_RUN_DIR, or that of this folder's run]",
)
CONTROLLER_VARIABLE = "GATEWRIGHT_CONTROLLER"


def complete_contexts(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """The names of contexts that begin so, for the shell."""
    from gatewright_cli.contexts import contexts_file, read_contexts

    try:
        return [name for name in read_contexts(contexts_file()).contexts if name.startswith(incomplete)]
    except PreflightError:  # a shell that completes shows no mistakes
        return []


CONTROLLER_OPTIONS = (
    click.option(
        "--controller",
        metavar="URL",
        help="A controller elsewhere, whose token is in the file that GATEWRIGHT_CONTROLLER_TOKEN_FILE names. "
        "[default: GATEWRIGHT_CONTROLLER]",
    ),
    click.option(
        "--controller-authority",
        metavar="FILE",
        type=A_PATH,
        help="PEM: the authorities that sign an https controller's certificate. [default: those of this system]",
    ),
    click.option(
        "--controller-in-clear",
        is_flag=True,
        help="Send the token to another machine over http, unencrypted.",
    ),
    click.option(
        "--context",
        "context_name",
        metavar="NAME",
        shell_complete=complete_contexts,
        help="A controller of `gatewright context list`. [default: GATEWRIGHT_CONTEXT, or the current one]",
    ),
)
DATABASE_URL = click.option(
    "--database", metavar="URL", default="", help="The controller's database: sqlite:PATH or postgresql://…"
)
REASON = click.option("--reason", metavar="TEXT", default="", help="Why: the history and the audit log keep it.")
OWNER = click.option(
    "--owner", metavar="NAME", default="", help="Whose it is from then on. [default: it stays whose it is]"
)
TAKE_OVER = click.option("--take-over", is_flag=True, help="Change what another owner has, too.")
TERMS_OPTIONS = (REASON, OWNER, TAKE_OVER)
FORCE = click.option("--force", is_flag=True, help="Replace the output file if it exists.")


def files_option(*, required: bool = False) -> Callable[..., Any]:
    """The option `-f` of commands that take sets of resources; the parameter is `places`."""
    return click.option(
        "-f",
        "--file",
        "places",
        multiple=True,
        required=required,
        type=A_PATH,
        help="A file of APIs and the Gateway, or a folder of them; - for standard input. Repeatable.",
    )


PRUNE = click.option("--prune", is_flag=True, help="Delete what the same owner has applied and the files do not have.")


@dataclass(frozen=True)
class NamedController:
    """A controller elsewhere, as the options name it: by its URL, or by a context. authority: a file; None: the
    system's. in_clear: whether http to another machine is allowed.
    """

    url: str | None = None
    authority: Path | None = None
    in_clear: bool = False
    context: str | None = None


def controller_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command with CONTROLLER_OPTIONS. It gets `controller`, a NamedController or None."""

    @functools.wraps(command)
    def wrapper(*args: Any, **options: Any) -> Any:
        return command(*args, controller=pop_controller(options), **options)

    decorated: Callable[..., Any] = wrapper
    for option in reversed(CONTROLLER_OPTIONS):
        decorated = option(decorated)
    return decorated


def pop_controller(options: dict[str, Any]) -> NamedController | None:
    """The controller that CONTROLLER_OPTIONS name, which are taken out; None for none. Raises PreflightError."""
    url, context = options.pop("controller", None), options.pop("context_name", None)
    authority, in_clear = options.pop("controller_authority", None), options.pop("controller_in_clear", False)
    has_url = url is not None or (context is None and os.environ.get(CONTROLLER_VARIABLE))
    if (authority or in_clear) and not has_url:
        option = "--controller-authority" if authority else "--controller-in-clear"
        cure = f"name it, or leave {option} out" + ("" if context is None else "; a context has its own")
        raise PreflightError([f"expected --controller URL with {option}, got none: {cure}"])
    named = NamedController(url, authority, in_clear, context)
    return None if named == NamedController() else named


def terms_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command with TERMS_OPTIONS. It gets `terms`, a query of writes."""

    @functools.wraps(command)
    def wrapper(*args: Any, reason: str, owner: str, take_over: bool, **options: Any) -> Any:
        found = {"reason": reason, "owner": owner, "take_over": "true" if take_over else ""}
        return command(*args, terms={name: value for name, value in found.items() if value}, **options)

    decorated: Callable[..., Any] = wrapper
    for option in reversed(TERMS_OPTIONS):
        decorated = option(decorated)
    return decorated
