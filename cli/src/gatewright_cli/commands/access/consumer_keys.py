"""Keys of consumers as `gatewright consumer key` lists and creates them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import click

from gatewright_cli.clients.controller_refusals import NoAnswerError, RefusedError, preflight_error
from gatewright_cli.clients.resources import Resources
from gatewright_cli.commands.controller_address import controller_address
from gatewright_cli.commands.options import NamedController
from gatewright_cli.commands.resources.kinds import CONSUMER, Column, Kind, Resource
from gatewright_cli.mistakes import PreflightError


def _expiry(key: Resource) -> str:
    expires_at = str(key.get("expiresAt", "never"))
    return f"expired {expires_at}" if key["expired"] else expires_at


def keys_of(consumer: str) -> Kind:
    """The keys of a consumer, as a kind of their own."""
    return Kind(
        "key",
        "keys",
        f"{CONSUMER.path_of(consumer)}/keys",
        (
            Column("NAME", lambda key: key["name"]),
            Column("CREATED", lambda key: key["createdAt"], wide=True),
            Column("CREATED BY", lambda key: key["createdBy"]),
            Column("EXPIRES", _expiry),
            Column("SHA-256", lambda key: key["sha256"], wide=True),
        ),
        lambda key: str(key["name"]),
    )


def create_key(
    consumer: str,
    document: Resource,
    terms: Mapping[str, str],
    run_dir: Path | None,
    controller: NamedController | None,
) -> Resource:
    """The new key, with its text. terms: of the write. Raises PreflightError with all mistakes."""
    address = controller_address(run_dir, controller)
    click.echo(f"writing to {address.place}", err=True)
    source = Resources(address.url, address.token, address.tls)
    try:
        return asyncio.run(source.create(keys_of(consumer).path, document, terms))
    except RefusedError as error:
        mistakes = [str(mistake) for mistake in error.mistakes]
        raise PreflightError(mistakes or [str(error)], error.status) from error
    except NoAnswerError as error:
        raise preflight_error(error) from error
