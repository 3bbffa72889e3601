"""What a Gateway says, checked: its fields by themselves, and what they say together."""

from __future__ import annotations

import msgspec
from gatewright_documents.mistake import Invalid
from gatewright_documents.strict import mistakes_of
from gatewright_documents.values import JsonObject

from gatewright_controller.model import Gateway


def validate_gateway(document: JsonObject) -> Gateway:
    """The Gateway that the document says. Raises `Invalid` with every mistake."""
    if mistakes := list(mistakes_of(Gateway, document)):
        raise Invalid(mistakes)
    return msgspec.convert(document, Gateway)
