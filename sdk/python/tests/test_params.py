import copy
import json
import pickle
from typing import Any

import pytest
from gatewright.params import ReadOnlyDict, ReadOnlyList, freeze

PLAIN = {"a": [1, {"b": None}], "c": True}


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.__setitem__("a", 1),
        lambda p: p.__delitem__("a"),
        lambda p: p.pop("a"),
        lambda p: p.popitem(),
        lambda p: p.setdefault("z", 1),
        lambda p: p.update(z=1),
        lambda p: p.clear(),
        lambda p: p.__ior__({"z": 1}),
        lambda p: p["a"].append(1),
        lambda p: p["a"].sort(),
        lambda p: p["a"].__iadd__([1]),
        lambda p: p["a"].__imul__(2),
        lambda p: p["a"].__setitem__(0, 2),
        lambda p: p["a"][1].update(b=2),
    ],
)
def test_a_change_at_any_depth_is_refused_with_the_cure(change: Any) -> None:
    frozen = freeze(PLAIN)
    with pytest.raises(TypeError, match=r"this (dict|list) is read-only.*copy\.deepcopy"):
        change(frozen)
    assert frozen == PLAIN


def test_it_reads_like_plain_json() -> None:
    frozen = freeze(PLAIN)
    assert isinstance(frozen, dict)
    assert isinstance(frozen["a"], list)
    assert json.loads(json.dumps(frozen)) == PLAIN
    assert frozen | {"z": 1} == {**PLAIN, "z": 1}


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])  # noqa: S301
def test_a_deep_copy_is_plain(duplicate: Any) -> None:
    plain = duplicate(freeze(PLAIN))
    plain["a"][1]["b"] = 3
    plain["a"].append(4)
    assert plain == {"a": [1, {"b": 3}, 4], "c": True}


def test_a_shallow_copy_keeps_its_values_read_only() -> None:
    shallow = copy.copy(freeze(PLAIN))
    shallow["z"] = 1
    assert type(shallow) is dict
    assert isinstance(shallow["a"], ReadOnlyList)
    assert isinstance(shallow["a"][1], ReadOnlyDict)
    assert type(copy.copy(freeze([1]))) is list
