"""`gatewright build`, and the summary that it prints of a finished build."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gatewright_cli.commands.options import A_PATH, ENGINE, IMPORT_LIMIT, MANIFEST, OUTPUT

if TYPE_CHECKING:
    from gatewright_builder.build import BuildOptions, BuildResult


@click.command()
@click.option("--manifest", type=A_PATH, default=MANIFEST, show_default=True, help="The policies to build in.")
@click.option("--output", type=A_PATH, default=OUTPUT, show_default=True, help="The folder to build into.")
@click.option("--locked", is_flag=True, help="Refuse anything that build.lock, beside build.yaml, does not list.")
@ENGINE
@IMPORT_LIMIT
@click.option("--json", "as_json", is_flag=True, help="Print progress as JSON lines, on stdout.")
@click.pass_context
def build(
    context: click.Context, manifest: Path, output: Path, locked: bool, engine: str, import_limit: float, as_json: bool
) -> None:
    """Build a policy engine and an executor from build.yaml."""
    from gatewright_cli.builds import build_as_json, building

    options = build_options(manifest, output, locked, import_limit, engine)
    if as_json:
        context.exit(build_as_json.build_as_json(options))
    click.echo(summary(building.build(options)))


def build_options(manifest: Path, output: Path, locked: bool, import_limit: float, engine: str) -> BuildOptions:
    """The command's options, as the builder has them."""
    from gatewright_builder.build import BuildOptions

    return BuildOptions(manifest, output, locked=locked, import_seconds=import_limit, module=engine == "in-envoy")


def summary(result: BuildResult) -> str:
    """What was built, for a person: the output, then each policy and the engine on lines of their own."""
    rows = []
    for policy in result.policies:
        group = f", group {policy.group}" if policy.group else ""
        rows.append((f"{policy.name} {policy.version}", f"{policy.runtime}{group}"))
    rows.append(("policy engine", "the stock one" if result.is_stock else "compiled for this build"))
    width = max(len(name) for name, _ in rows)
    changed = "" if result.changed else ", nothing has changed"
    head = f"built {result.output} in {sum(result.seconds.values()):.1f} s{changed}"
    return "\n".join([head, *(f"  {name:{width}}  {description}" for name, description in rows)])
