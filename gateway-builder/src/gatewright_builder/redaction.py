"""Nothing that a build says names a password: the one place that knows what one looks like."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping

from gatewright_documents.mistake import LONGEST_SHOWN

HIDDEN = "****"
IN_ADDRESS = re.compile(r"(?<=//)[^/\s@\"'`<>]+(?=@)")
SECRET_NAME = re.compile(r"(TOKEN|PASSWORD|SECRET)$")
SHORTEST = 6  # a value of fewer letters would be hidden all over ordinary words


def redacted(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """The text with USER:PASSWORD@ of addresses, and the environment's tokens and passwords, hidden."""
    for secret in sorted(set(_secrets(environment)), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return IN_ADDRESS.sub(HIDDEN, text)


def shown_redacted(value: object) -> str:
    """A value for "got …", redacted before a cut could hide what a password looks like; at most 80 characters."""
    text = redacted(repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 1]}…"


def _secrets(environment: Mapping[str, str]) -> Iterator[str]:
    for name, value in environment.items():
        if SECRET_NAME.search(name) and len(value) >= SHORTEST:
            yield value
        for found in IN_ADDRESS.finditer(value):
            yield from (part for part in found[0].split(":")[1:] if len(part) >= SHORTEST)
