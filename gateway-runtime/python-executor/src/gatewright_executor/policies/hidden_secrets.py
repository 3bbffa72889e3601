"""Removes an instance's secrets from errors of its policy, which are logged and shown to users."""

from __future__ import annotations

import json
from collections.abc import Iterator

from gatewright.secrets import Secret

MARK = "[secret]"
LEAST = 4  # characters of a secret to search for: shorter ones occur in texts by chance
BEGINNING = 16  # characters that identify a secret, since messages cut their quotations


def hide(text: str, *parameters: object) -> str:
    """The text with a mark instead of each secret of these parameters, and of each line of a secret, even if it is
    quoted or cut."""
    secrets = {part for secret in _secrets(parameters) for part in (secret, *secret.splitlines())}
    forms = {form for secret in secrets if len(secret.strip()) >= LEAST for form in _forms(secret)}
    for form in sorted(forms, key=len, reverse=True):  # a form may contain a shorter one
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
        text = text[:at] + MARK + text[at + _common_prefix(text[at : at + len(form)], form) :]
        at += len(MARK)
    return text


def _common_prefix(left: str, right: str) -> int:
    """The length of the longest beginning that both texts share."""
    differing = (number for number, (a, b) in enumerate(zip(left, right, strict=False)) if a != b)
    return next(differing, min(len(left), len(right)))
