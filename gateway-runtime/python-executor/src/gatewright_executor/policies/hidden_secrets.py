"""An instance's secrets, taken out of what its policy says in errors: these are logged, and shown to others."""

from __future__ import annotations

import json
from collections.abc import Iterator

from gatewright.secrets import Secret

MARK = "[secret]"
LEAST = 4  # characters of a secret that is looked for: shorter ones stand in any text by chance
BEGINNING = 16  # characters by which one is known, since messages cut what they quote


def hide(text: str, *parameters: object) -> str:
    """The text with a mark in the place of each secret of these parameters, and of each of its lines, also where it is
    quoted or cut."""
    texts = {one for secret in _secrets(parameters) for one in (secret, *secret.splitlines())}
    found = {form for one in texts if len(one.strip()) >= LEAST for form in _forms(one)}
    for form in sorted(found, key=len, reverse=True):  # one may stand in another one
        text = _without(text, form)
    return text


def _secrets(value: object) -> Iterator[str]:
    if isinstance(value, Secret):
        yield value.reveal()
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _secrets(item)


def _forms(secret: str) -> set[str]:
    raw = secret.encode("utf-8", "surrogatepass")
    return {secret, repr(secret)[1:-1], repr(raw)[2:-1], json.dumps(secret)[1:-1]}


def _without(text: str, form: str) -> str:
    at, beginning = 0, form[:BEGINNING]
    while (at := text.find(beginning, at)) >= 0:
        text = text[:at] + MARK + text[at + _alike(text[at : at + len(form)], form) :]
        at += len(MARK)
    return text


def _alike(one: str, other: str) -> int:
    """How many characters both begin with."""
    differing = (number for number, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differing, min(len(one), len(other)))
