from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from gatewright_documents.document import Document, read_document
from gatewright_documents.strict import decode, described, mistakes_of

Name = Annotated[str, described("a name", "write one like a-b", "^[a-z-]+$")]


class Inner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    size: Annotated[int, msgspec.Meta(ge=1)]


class Outer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    first_name: Name
    version: Annotated[Literal["v1"], described("v1", "write version: v1")]
    names: list[Name] = []
    inner: Inner = Inner(1)


def document(text: str) -> Document:
    return read_document(text.encode(), "a.yaml")


def test_a_right_document_is_a_struct() -> None:
    right = document("firstName: ab\nversion: v1\nnames: [c, d]\ninner: {size: 3}")
    assert decode(Outer, right, right.value) == Outer("ab", "v1", ["c", "d"], Inner(3))


def test_all_mistakes_at_once_each_with_its_line_and_cure() -> None:
    wrong = document("firstName: A\nnames:\n  - c\n  - D\n  - 5\ninner:\n  size: 0\n  sise: 1\nfirstname: b\n")
    found = decode(Outer, wrong, wrong.value)
    assert isinstance(found, list)
    assert sorted(map(str, found)) == [
        "a.yaml:1: firstName: expected a name, got 'A'; write one like a-b",
        "a.yaml:1: version: expected v1, got nothing; write version: v1",
        "a.yaml:4: names[1]: expected a name, got 'D'; write one like a-b",
        "a.yaml:5: names[2]: expected a name, got 5; write one like a-b",
        "a.yaml:7: inner.size: expected at least 1, got 0",
        "a.yaml:8: inner.sise: expected one of size, got 'sise'; remove it or correct its name",
        "a.yaml:9: firstname: expected one of firstName, inner, names, version, got 'firstname'; "
        "remove it or correct its name",
    ]


def test_a_whole_number_has_no_decimal_point() -> None:
    wrong = document("firstName: ab\nversion: v1\ninner:\n  size: 2.0")
    expected = "inner.size: expected a whole number, got one with a decimal point; write 2, not 2.0"
    found = decode(Outer, wrong, wrong.value)
    assert isinstance(found, list)
    assert list(map(str, found)) == [f"a.yaml:4: {expected}"]
    assert list(map(str, mistakes_of(Outer, wrong.value))) == [expected]


def test_for_a_document_that_is_no_mapping_the_keys_are_listed() -> None:
    for text, got in (("", "nothing"), ("- a", "an array"), ("a", "'a'")):
        empty = document(text)
        found = decode(Inner, empty, empty.value)
        assert list(map(str, found)) == [f"a.yaml:1: expected a mapping with size, got {got}; write its keys"]  # type: ignore[arg-type]


def test_no_mistake_shows_what_is_to_be_redacted() -> None:
    wrong = document(f"firstName: https://user:{'s3cret' * 20}@host\nversion: v1")
    found = decode(Outer, wrong, wrong.value, redact=lambda text: text.replace("s3cret", "*"))
    assert isinstance(found, list)
    assert "s3c" not in str(found[0])
    assert "firstName: expected a name, got 'https://user:***" in str(found[0])


def test_a_value_is_looked_at_below_its_field() -> None:
    (mistake,) = mistakes_of(Inner, {"size": "x"}, "spec.inner")
    assert str(mistake) == "spec.inner.size: expected a whole number, got 'x'"
