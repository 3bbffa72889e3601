"""`gatewright node drain` and `undrain`: asks a controller for it, and says what has become of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import click

from gatewright_cli.clients.controller_refusals import NoAnswerError, RefusedError, preflight_error
from gatewright_cli.clients.resources import LONGEST_WAIT, Resources
from gatewright_cli.commands.controller_address import controller_address
from gatewright_cli.commands.options import NamedController
from gatewright_cli.commands.resources.kinds import NODE, drain_text
from gatewright_cli.mistakes import ExitStatus, PreflightError

REACHED = {"drain": "drained", "undrain": "serving"}


@dataclass(frozen=True)
class DrainOrder:
    """What a node is to do. wait: how many seconds to wait until it is done. accept: how many seconds it still accepts
    connections once it is not ready; None for the controller's default. reason: "" for none.
    """

    verb: Literal["drain", "undrain"]
    node: str
    wait: float
    reason: str = ""
    accept: int | None = None

    @property
    def query(self) -> dict[str, str]:
        """Of the request."""
        wait, accept = f"{min(self.wait, LONGEST_WAIT):.3f}", "" if self.accept is None else str(self.accept)
        terms = {"wait": wait if self.wait else "", "accept": accept, "reason": self.reason}
        return {name: value for name, value in terms.items() if value}


def order_node(order: DrainOrder, run_dir: Path | None, controller: NamedController | None) -> ExitStatus:
    """Prints the node's state. Raises PreflightError."""
    address = controller_address(run_dir, controller)
    click.echo(f"writing to {address.place}", err=True)
    source = Resources(address.url, address.token, address.tls)
    path = f"{NODE.path_of(order.node)}/{order.verb}"
    try:
        node = asyncio.run(source.act(path, order.query, min(order.wait, LONGEST_WAIT)))
    except RefusedError as error:
        raise PreflightError([str(error)], error.status) from error
    except NoAnswerError as error:
        raise preflight_error(error) from error
    click.echo(f"{node['id']} {drain_text(node['drain'])}")
    is_done = node["drain"]["state"] == REACHED[order.verb]
    return ExitStatus.DONE if is_done or not order.wait else ExitStatus.NOT_DEPLOYED
