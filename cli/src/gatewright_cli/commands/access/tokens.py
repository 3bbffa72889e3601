"""Tokens as `gatewright token` lists, creates and completes them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gatewright_cli.commands.access.grants import apis_of
from gatewright_cli.commands.options import NamedController
from gatewright_cli.commands.resources.kinds import Column, Kind, Resource
from gatewright_cli.commands.resources.names import names_of_kind

if TYPE_CHECKING:
    from gatewright_documents.mistake import Mistake

ROLES = ("admin", "publisher", "viewer", "node")
OPTIONS = {
    "name": "NAME",
    "role": "--role",
    "names": "--api",
    "labels": "--label",
    "hosts": "--host",
    "contexts": "--path",
    "days": "--days",
}
"""What the members of a token are called on the command line."""
MEMBER = re.compile(r"^[a-z]+")


def _expiry(token: Resource) -> str:
    expires_at = str(token.get("expiresAt", "never"))
    return f"expired {expires_at}" if token["expired"] else expires_at


TOKEN = Kind(
    "token",
    "tokens",
    "/v1/tokens",
    (
        Column("NAME", lambda token: token["name"]),
        Column("ROLE", lambda token: token["role"]),
        Column("FOR", apis_of),
        Column("CREATED", lambda token: token["createdAt"], wide=True),
        Column("CREATED BY", lambda token: token["createdBy"]),
        Column("EXPIRES", _expiry),
    ),
    lambda token: str(token["name"]),
)


def complete_tokens(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """The names of tokens that begin so, for the shell."""
    return names_of_kind(context, TOKEN, incomplete)


def create_token(
    document: Resource, terms: Mapping[str, str], run_dir: Path | None, controller: NamedController | None
) -> Resource:
    """The new token, with its text. terms: of the write. Raises PreflightError with all mistakes."""
    from gatewright_cli.clients.controller_refusals import NoAnswerError, RefusedError, preflight_error
    from gatewright_cli.clients.resources import Resources
    from gatewright_cli.commands.controller_address import controller_address
    from gatewright_cli.mistakes import PreflightError

    address = controller_address(run_dir, controller)
    click.echo(f"writing to {address.place}", err=True)
    source = Resources(address.url, address.token, address.tls)
    try:
        return asyncio.run(source.create(TOKEN.path, document, terms))
    except RefusedError as error:
        mistakes = [str(_on_command_line(mistake)) for mistake in error.mistakes]
        raise PreflightError(mistakes or [str(error)], error.status) from error
    except NoAnswerError as error:
        raise preflight_error(error) from error


def describe_token(token: Resource) -> str:
    """What it is for, and until when."""
    expires_at = token.get("expiresAt")
    end = f"until {expires_at}" if expires_at else "without an end"
    return f"{token['name']} has the role {token['role']} for {apis_of(token)}, {end}"


def _on_command_line(mistake: Mistake) -> Mistake:
    """With the option in the place of the member, as the user wrote it."""
    member = MEMBER.match(mistake.field)
    option = OPTIONS.get(member[0], mistake.field) if member else mistake.field
    return replace(mistake, field=option)
