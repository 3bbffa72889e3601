"""`gatewright inspector`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gatewright_cli.commands.options import RUN_DIR, NamedController, controller_options
from gatewright_cli.mistakes import ExitStatus, PreflightError

if TYPE_CHECKING:
    from gatewright_cli.commands.controller_address import ControllerAddress

ANSWER_SECONDS = 5.0


@click.command()
@click.option("--open", "opens", is_flag=True, help="Open it in the browser of this machine, and print no token.")
@click.option("--json", "as_json", is_flag=True, help="Print it as a JSON object: url, and signIn with the token.")
@RUN_DIR
@controller_options
def inspector(opens: bool, as_json: bool, run_dir: Path | None, controller: NamedController | None) -> None:
    """Print the address of the Inspector, the controller's web page, with the token that signs in.

    Anyone with this address can do all that the management API can. Exit status 6 if no controller answers.
    """
    from gatewright_cli.commands.controller_address import controller_address
    from gatewright_cli.node.files import inspector_page

    address = controller_address(run_dir, controller)
    if opens and (address.run_dir is None or as_json):
        cure = "open the address that `gatewright inspector` prints"
        raise PreflightError([f"--open is for a run of this machine, and prints no JSON: {cure}"])
    if not address.token:
        cure = "name a file that holds it with GATEWRIGHT_CONTROLLER_TOKEN_FILE, or in the context"
        raise PreflightError([f"expected the token of the controller at {address.url}, got none: {cure}"])
    asyncio.run(_require_answer(address))
    plain, signs_in = inspector_page.address(address.url), inspector_page.sign_in_address(address.url, address.token)
    if opens and address.run_dir:
        _open(address.run_dir)
        click.echo(f"opened {plain}")
    elif as_json:
        click.echo(json.dumps({"url": plain, "signIn": signs_in}))
    else:
        click.echo(signs_in)


async def _require_answer(controller: ControllerAddress) -> None:
    """Raises PreflightError."""
    from gatewright_cli.local_http import LocalClient, LocalHttpError

    try:
        await LocalClient(None, controller.url, ANSWER_SECONDS, controller.tls).get("/healthz")
    except LocalHttpError as error:
        cure = "see `gatewright status`"
        mistake = f"the controller at {controller.url} gave no answer ({error}): {cure}"
        raise PreflightError([mistake], ExitStatus.UNREACHABLE) from error


def _open(run_dir: Path) -> None:
    """Raises PreflightError."""
    import webbrowser

    from gatewright_cli.node.files import inspector_page

    page = run_dir.absolute() / inspector_page.FILE
    if not webbrowser.open(page.as_uri()):
        cure = "set BROWSER to its command, or open the address that `gatewright inspector` prints"
        raise PreflightError([f"found no browser on this machine: {cure}"])
