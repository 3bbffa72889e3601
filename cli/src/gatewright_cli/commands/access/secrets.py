"""Secrets as `gatewright secret` writes them: values come from files and standard input, never from arguments."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from gatewright_cli.clients.controller_refusals import NoAnswerError, RefusedError, preflight_error
from gatewright_cli.clients.resources import Resources
from gatewright_cli.commands.controller_address import controller_address
from gatewright_cli.commands.options import NamedController
from gatewright_cli.commands.resources.kinds import SECRET, Resource
from gatewright_cli.commands.value_files import file_text, text_of
from gatewright_cli.mistakes import ExitStatus, PreflightError, refuse

ROTATION = "/v1/secret-keys/rotation"
STDIN = "-"
T = TypeVar("T")
REFUSED_VALUE = (
    "expected KEY=@FILE, or KEY=- for standard input, got the value itself: other users of this machine see the "
    "arguments of processes, and shells keep them: put it in a file"
)


def read_values(assignments: Sequence[str], stdin: Callable[[], bytes]) -> dict[str, str]:
    """The values by key. One newline at the end of a file is not part of a value. Raises PreflightError with all
    mistakes, which show no value.
    """
    values: dict[str, str] = {}
    mistakes: list[str] = []
    for assignment in assignments:
        key, _, place = assignment.partition("=")
        if not key or not (place == STDIN or (place.startswith("@") and place != "@")):
            mistakes.append(f"{key or 'argument'}: {REFUSED_VALUE}")
        elif key in values:
            mistakes.append(f"{key}: expected each key once, got it twice: leave one out")
        elif place == STDIN and sum(other.endswith(f"={STDIN}") for other in assignments) > 1:
            mistakes.append(f"{key}: expected one key from standard input, got more: put the others into files")
        else:
            values[key], mistake = text_of(stdin()) if place == STDIN else file_text(Path(place[1:]))
            mistakes += [f"{key}: {mistake}"] if mistake else []
    refuse(mistakes)
    return values


def set_values(
    name: str,
    values: Mapping[str, str],
    labels: Mapping[str, str],
    terms: Mapping[str, str],
    run_dir: Path | None,
    controller: NamedController | None,
) -> str:
    """Adds these values to the Secret, or puts them in the place of those of the same keys; other keys and labels stay.
    Returns what was done. Raises PreflightError.
    """

    async def write(source: Resources) -> str:
        before = await _find(source, name)
        document = _document(name, before, values, labels)
        revision = before["status"]["revision"] if before else 0
        headers = {"if-match": f'"{revision}"'} if before else {}
        after, is_new = await source.put(SECRET.path_of(name), document, headers, terms)
        if is_new:
            return "created"
        return "unchanged" if after["status"]["revision"] == revision else "changed"

    return _asked(write, run_dir, controller)


def rotate(run_dir: Path | None, controller: NamedController | None) -> Resource:
    """What the controller says it has encrypted by its first key. Raises PreflightError."""
    return _asked(lambda source: source.act(ROTATION), run_dir, controller)


def _document(name: str, before: Resource | None, values: Mapping[str, str], labels: Mapping[str, str]) -> Resource:
    """What is there with masks, which stand for what is stored."""
    document = {key: part for key, part in before.items() if key != "status"} if before else _empty(name)
    metadata = {**document["metadata"]}
    if labels:
        metadata["labels"] = {**metadata.get("labels", {}), **labels}
    return {**document, "metadata": metadata, "spec": {"values": {**document["spec"]["values"], **values}}}


def _empty(name: str) -> Resource:
    return {
        "apiVersion": "gatewright.dev/v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "spec": {"values": {}},
    }


async def _find(source: Resources, name: str) -> Resource | None:
    try:
        return await source.fetch(SECRET.path_of(name))
    except RefusedError as error:
        if error.status == ExitStatus.NOT_FOUND:
            return None
        raise


def _asked(
    ask: Callable[[Resources], Coroutine[Any, Any, T]], run_dir: Path | None, controller: NamedController | None
) -> T:
    """Raises PreflightError."""
    address = controller_address(run_dir, controller)
    click.echo(f"writing to {address.place}", err=True)
    try:
        return asyncio.run(ask(Resources(address.url, address.token, address.tls)))
    except RefusedError as error:
        mistakes = [str(mistake) for mistake in error.mistakes]
        raise PreflightError(mistakes or [str(error)], error.status) from error
    except NoAnswerError as error:
        raise preflight_error(error) from error
