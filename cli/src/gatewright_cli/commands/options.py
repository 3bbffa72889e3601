"""What several commands have in common: defaults, and options."""

from __future__ import annotations

from pathlib import Path

import click

from gatewright_cli.commands.units import DURATION

MANIFEST = Path("build.yaml")
OUTPUT = Path("build/stock")
DEFINITIONS = "policy-definitions"
"""In a build output: NAME-VERSION.yaml."""
STATE_DIR = Path(".gatewright")
A_PATH = click.Path(path_type=Path)
"""Not checked by click: what is wrong with a path is said with all other mistakes."""
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
    help="The directory that the node runs in. [default: GATEWRIGHT_RUN_DIR, or that of the run of this folder]",
)
CONTROLLER = click.option(
    "--controller",
    metavar="URL",
    help="A controller elsewhere, whose token is in the file that GATEWRIGHT_CONTROLLER_TOKEN_FILE names.",
)
FORCE = click.option("--force", is_flag=True, help="Replace the output file if it is there.")
