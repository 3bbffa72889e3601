"""`gatewright new policy`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gatewright_cli.commands.options import A_PATH, MANIFEST

if TYPE_CHECKING:
    from pathlib import Path, PurePosixPath

    from gatewright_cli.commands.scaffold.new_policy import Form


@click.group()
def new() -> None:
    """Write the files that a part of a project starts from: a policy."""


@new.command()
@click.argument("name")
@click.option("--async", "form", flag_value="async", help="The policy asks a service, with an async client.")
@click.option("--stream", "form", flag_value="stream", help="The policy changes a response's body while it streams.")
@click.option(
    "--go", "form", flag_value="go", help="The policy is written in Go. It needs a checkout, which compiles it."
)
@click.option("--manifest", type=A_PATH, default=MANIFEST, show_default=True, help="The project's list of policies.")
@click.option("--no-add", is_flag=True, help="Leave the manifest alone.")
def policy(name: str, form: Form | None, manifest: Path, no_add: bool) -> None:
    """Write a policy into policies/, with its test, and add it to build.yaml.

    NAME is words of lower-case letters and digits, joined by hyphens.
    """
    from gatewright_cli.commands.scaffold.new_policy import write_policy

    made = write_policy(name, manifest, form or "plain", add=not no_add)
    for path in made.written:
        click.echo(path)
    click.echo("\nNext:")
    for command in _test_commands(made.folder, form):
        click.echo(f"    {command}")
    click.echo(f"    {_build_command(form)}")
    params = ", params: {url: …}" if form == "async" else ""
    click.echo(f"    gatewright apply -f apis  (after an API names it: - {{name: {name}, version: v1{params}}})")


def _build_command(form: Form | None) -> str:
    if form == "go":
        return "gatewright run           (again where it runs: Go is compiled in)"
    return "gatewright reload         (`gatewright run --watch` has done it; where none runs, `gatewright run`)"


def _test_commands(folder: PurePosixPath, form: Form | None) -> list[str]:
    if form == "go":
        return [f"go -C {folder} test ."]
    packages = [f"pip install -r {folder}/requirements.txt"] if form == "async" else []
    return [*packages, f"pytest {folder}"]
