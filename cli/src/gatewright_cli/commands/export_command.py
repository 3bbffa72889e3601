"""`gatewright export`."""

from __future__ import annotations

from pathlib import Path

import click

from gatewright_cli.commands.options import A_PATH, FORCE, RUN_DIR, NamedController, controller_options


@click.command()
@click.argument("api")
@click.option("--format", "_format", type=click.Choice(["openapi"]), default="openapi", show_default=True)
@click.option(
    "-o", "--output", type=A_PATH, help="The file to write: JSON if its name ends in .json. [default: standard output]"
)
@click.option(
    "--server", metavar="URL", default="", help="The gateway as clients know it. [default: none, a relative URL]"
)
@RUN_DIR
@controller_options
@FORCE
def export(
    api: str,
    _format: str,
    output: Path | None,
    server: str,
    run_dir: Path | None,
    controller: NamedController | None,
    force: bool,
) -> None:
    """Make an OpenAPI 3.1 document of an API: one that a running gateway has, by its name, or that of a file.

    A name has no dots and slashes; - is standard input. Upstreams and policies are left out.
    """
    from gatewright_cli.commands.apis.converting import export_api, write

    json = output is not None and output.suffix == ".json"
    write(export_api(api, server, run_dir, controller, json=json), output, force=force)
