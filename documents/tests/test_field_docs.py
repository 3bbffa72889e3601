from __future__ import annotations

import msgspec
from gatewright_documents.field_docs import field_docs


class Box(msgspec.Struct):
    size: int
    """How large
    it is."""
    label: str = ""
    weight: int = 0
    """In grams."""


class Parcel(Box):
    weight: int = 1
    """With its string, in grams."""
    to: str = ""
    """Who gets it."""


def test_the_strings_below_fields_are_their_words_and_a_struct_has_those_of_its_base() -> None:
    assert field_docs(Parcel) == {
        "size": "How large\n    it is.", "weight": "With its string, in grams.", "to": "Who gets it.",
    }  # fmt: skip
    assert field_docs(Box) == {"size": "How large\n    it is.", "weight": "In grams."}
