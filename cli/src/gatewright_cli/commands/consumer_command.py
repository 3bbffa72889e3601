"""`gatewright consumer`."""

from __future__ import annotations

from pathlib import Path

import click

from gatewright_cli.commands.options import A_PATH, REASON, RUN_DIR, NamedController, controller_options
from gatewright_cli.commands.resources.kinds import CONSUMER
from gatewright_cli.commands.resources.names import names_of_kind
from gatewright_cli.commands.resources.output import OUTPUT


def _complete(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    return names_of_kind(context, CONSUMER, incomplete)


@click.group()
def consumer() -> None:
    """Keys of consumers. Consumers and Plans are resources: `get`, `apply`, `history` and `delete` are for them."""


@consumer.group()
def key() -> None:
    """Create, import, list and delete API keys of consumers: data, which no file of resources has."""


@key.command()
@click.argument("consumer", metavar="CONSUMER", shell_complete=_complete)
@click.argument("name", metavar="KEY")
@click.option("--days", type=int, help="It expires after so many days. [default: never]")
@click.option(
    "--key-file",
    type=A_PATH,
    help="A file with a key that the client has already; - for standard input. It keeps working.",
)
@REASON
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="The key's text alone, or all that the controller answers.",
)
@RUN_DIR
@controller_options
def create(
    consumer: str,
    name: str,
    days: int | None,
    key_file: Path | None,
    reason: str,
    output: str,
    run_dir: Path | None,
    controller: NamedController | None,
) -> None:
    """Create a key, and print its text, which is never shown again. The controller is named on stderr.

    KEY is what you call it. Where api-key-auth accepts consumers it opens APIs within a second.

    With --key-file no key is made, and none is printed: the client goes on with the one that it has. It has to be
    random, of 22 characters or more, since its SHA-256 is kept.

    Exit status 3 if there is no such consumer, 4 if it has a key of this name, or if the key of the file is in use.
    """
    from gatewright_cli.commands.access.consumer_keys import create_key
    from gatewright_cli.commands.access.old_keys import read_text
    from gatewright_cli.commands.resources.output import json_text

    document = {"name": name, **({} if days is None else {"days": days})}
    if key_file:
        document["key"] = read_text(key_file)
    created = create_key(consumer, document, {"reason": reason} if reason else {}, run_dir, controller)
    if output == "json" or not key_file:
        click.echo(json_text(created) if output == "json" else f"{created['key']}\n", nl=False)
    end = f"until {created['expiresAt']}" if "expiresAt" in created else "without an end"
    once = "" if key_file else "; the key is shown this once: keep it"
    click.echo(f"{name} is a key of {consumer} {end}{once}", err=True)


@key.command("import")
@click.argument("file", type=A_PATH)
@REASON
@RUN_DIR
@controller_options
@click.pass_context
def import_keys(
    context: click.Context, file: Path, reason: str, run_dir: Path | None, controller: NamedController | None
) -> None:
    """Give consumers the keys of a file that clients have already (- for standard input), and print how many. The
    controller is named on stderr.

    A line for each key: {"consumer": "acme", "name": "ci", "key": "…"}, and "expiresAt" if it ends; `gatewright import`
    writes such a file for a decK file of Kong. Keys that are there already are left alone.

    Exit status 1 if a key is too short, 3 if there is no such consumer, 4 if a key, or its name, is in use.
    """
    from gatewright_cli.commands.access.old_keys import import_keys

    context.exit(import_keys(file, {"reason": reason} if reason else {}, run_dir, controller))


@key.command("list")
@click.argument("consumer", metavar="CONSUMER", shell_complete=_complete)
@OUTPUT
@RUN_DIR
@controller_options
def list_keys(consumer: str, output: str, run_dir: Path | None, controller: NamedController | None) -> None:
    """Print the keys of a consumer, without their texts."""
    from gatewright_cli.commands.access.consumer_keys import keys_of
    from gatewright_cli.commands.resources.showing import Selection, show

    show(Selection(keys_of(consumer), (), (), output), run_dir, controller)


@key.command()
@click.argument("consumer", metavar="CONSUMER", shell_complete=_complete)
@click.argument("names", metavar="KEY...", nargs=-1, required=True)
@REASON
@RUN_DIR
@controller_options
@click.pass_context
def delete(
    context: click.Context,
    consumer: str,
    names: tuple[str, ...],
    reason: str,
    run_dir: Path | None,
    controller: NamedController | None,
) -> None:
    """Delete keys, which are refused within a second. The controller is named on stderr.

    Exit status 3 if a key is not there.
    """
    from gatewright_cli.commands.access.consumer_keys import keys_of
    from gatewright_cli.commands.resources.deleting import Deletion, delete_resources

    deletion = Deletion(keys_of(consumer), names, revision=None, wait=0.0, reason=reason)
    context.exit(delete_resources(deletion, run_dir, controller))
