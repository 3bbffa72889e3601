"""Defaults and options that several commands share."""

from __future__ import annotations

import functools
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
IMPORT_LIMIT = click.option(
    "--import-limit",
    type=DURATION,
    default="60s",
    show_default=True,
    help="How long a build may take to import one policy.",
)
RUN_DIR = click.option(
    "--run-dir",
    type=A_PATH,
    help="The run directory of the node. [default: GATEWRIGHT_RUN_DIR, or that of this folder's run]",
)
CONTROLLER_OPTIONS = (
    click.option(
        "--controller",
        metavar="URL",
        help="A controller elsewhere, whose token is in the file that GATEWRIGHT_CONTROLLER_TOKEN_FILE names.",
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
)
DATABASE_URL = click.option(
    "--database", metavar="URL", default="", help="The controller's database: sqlite:PATH or postgresql://…"
)
TERMS_OPTIONS = (
    click.option("--reason", metavar="TEXT", default="", help="Why: it is kept in the history of what changes."),
    click.option(
        "--owner", metavar="NAME", default="", help="Whose it is from then on. [default: it stays whose it is]"
    ),
    click.option("--take-over", is_flag=True, help="Change what another owner has, too."),
)
FORCE = click.option("--force", is_flag=True, help="Replace the output file if it exists.")


@dataclass(frozen=True)
class NamedController:
    """A controller elsewhere, as the options name it. authority: a file; None: the system's. in_clear: whether http to
    another machine is allowed.
    """

    url: str
    authority: Path | None = None
    in_clear: bool = False


def controller_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command with CONTROLLER_OPTIONS. It gets `controller`, a NamedController or None."""

    @functools.wraps(command)
    def wrapper(
        *args: Any, controller: str | None, controller_authority: Path | None, controller_in_clear: bool, **options: Any
    ) -> Any:
        named = (
            NamedController(controller, controller_authority, controller_in_clear) if controller is not None else None
        )
        if named is None and (controller_authority or controller_in_clear):
            option = "--controller-authority" if controller_authority else "--controller-in-clear"
            raise PreflightError([f"expected --controller URL with {option}, got none: name it, or leave {option} out"])
        return command(*args, controller=named, **options)

    decorated: Callable[..., Any] = wrapper
    for option in reversed(CONTROLLER_OPTIONS):
        decorated = option(decorated)
    return decorated


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
