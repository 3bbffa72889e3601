import json
import math
from enum import IntEnum, StrEnum
from typing import Any

import pytest
from gatewright.policy import Metadata
from hypothesis import given
from hypothesis import strategies as st

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


def same(first: Any, second: Any) -> bool:
    """Equal in type too: 1, 1.0 and True are three values."""
    return json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_what_is_written_is_what_travels_and_what_is_read(values: dict[str, Any]) -> None:
    metadata = Metadata()
    metadata.update(values)
    written, removed = metadata.changes()
    assert same(written, values)
    assert same(dict(Metadata(json.dumps(written).encode())), values)
    assert removed == []


def test_only_changes_travel_and_deletions_do() -> None:
    metadata = Metadata(b'{"kept": 1, "gone": 2, "again": 3}')
    assert not metadata.changed
    del metadata["gone"], metadata["again"]
    metadata["again"] = 4
    metadata["new"] = [1, (2, 3)]
    assert metadata.changed
    assert metadata.changes() == ({"again": 4, "new": [1, [2, 3]]}, ["gone"])
    assert dict(metadata) == {"kept": 1, "again": 4, "new": [1, [2, 3]]}


def test_a_written_value_is_a_copy_and_a_read_one_is_read_only() -> None:
    mine: dict[str, Any] = {"list": [1]}
    metadata = Metadata(b'{"old": {"list": [1]}}')
    metadata["new"] = mine
    mine["list"].append(2)
    assert metadata["new"] == {"list": [1]}
    for key in ("old", "new"):
        with pytest.raises(TypeError, match="assign the copy to its key"):
            metadata[key]["list"].append(2)


def test_subclasses_become_plain_values() -> None:
    metadata = Metadata()
    metadata["colour"], metadata["level"] = Colour.RED, Level.LOW
    assert type(metadata["colour"]) is str
    assert type(metadata["level"]) is int


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"a": [1, {2}]}, r"policy p:v1\.0\.0: metadata\['k'\]\['a'\]\[1\]: expected a JSON value .* got set"),
        (b"bytes", "got bytes"),
        ({1: 2}, r"expected a str as key, got int \(1\)"),
        (math.nan, "expected a number that JSON has, got nan"),
        ([math.inf], r"\[0\]: expected a number"),
        ("\udcff", "expected Unicode text, got bytes that are not UTF-8"),
        ({"\udcff": 1}, "expected Unicode text"),
    ],
)
def test_anything_else_is_refused_where_it_is_written(value: Any, sentence: str) -> None:
    metadata = Metadata(policy="p:v1.0.0")
    with pytest.raises((TypeError, ValueError), match=sentence):
        metadata["k"] = value
    assert not metadata.changed
    assert "k" not in metadata


def test_a_key_is_text() -> None:
    with pytest.raises(TypeError, match="metadata: expected a str as key, got int"):
        Metadata()[1] = 2  # type: ignore[index]


def test_a_dict_of_its_own() -> None:
    metadata = Metadata(b'{"user": {"roles": ["a"]}, "n": 123456789012345678901}')
    metadata["later"] = True
    copied = metadata.to_dict()
    assert json.dumps(copied) == '{"user": {"roles": ["a"]}, "n": 123456789012345678901, "later": true}'
    copied["user"]["roles"].append("b")
    assert metadata["user"]["roles"] == ["a"]
    assert Metadata().to_dict() == {}
