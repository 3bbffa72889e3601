from __future__ import annotations

from collections.abc import Mapping

from gatewright_controller.resource.node_gateways import chosen_for, possible_for, rival_of
from hypothesis import given
from hypothesis import strategies as st

DMZ, EDGE, BOTH = {"zone": "dmz"}, {"tier": "edge"}, {"zone": "dmz", "tier": "edge"}
PLACED: Mapping[str, Mapping[str, str]] = {"dmz": DMZ, "both": BOTH, "inner": {"zone": "inner"}}
LABELS = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy"), max_size=3)
SETS = st.dictionaries(
    st.sampled_from("klmn"),
    st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy"), min_size=1, max_size=3),
    max_size=4,
)


def test_the_one_with_the_most_labels_is_chosen() -> None:
    assert [chosen_for(labels, PLACED) for labels in ({}, EDGE, DMZ, BOTH, {"zone": "inner"} | EDGE)] == [
        "", "", "dmz", "both", "inner",
    ]  # fmt: skip
    assert chosen_for({"a": "x", "b": "x"}, {"m": {"a": "x"}, "l": {"b": "x"}}) == "l", "by name where both are stored"


def test_nodes_may_have_those_that_their_labels_do_not_exclude() -> None:
    assert possible_for({}, PLACED) == ["", "both", "dmz", "inner"]
    assert possible_for(DMZ, PLACED) == ["dmz", "both"]
    assert possible_for(BOTH, PLACED) == ["both"]
    assert possible_for(EDGE, PLACED) == ["", "both", "dmz", "inner"]


def test_two_with_as_many_labels_are_rivals_where_a_node_can_have_both() -> None:
    assert rival_of("dmz", PLACED) == ""
    assert rival_of("dmz", {**PLACED, "edge": EDGE}) == "edge"
    assert rival_of("edge", {**PLACED, "edge": EDGE}) == "dmz"


@given(api=LABELS, more=LABELS, placed=SETS)
def test_what_a_node_has_is_among_what_its_apis_may_run_with(
    api: dict[str, str], more: dict[str, str], placed: dict[str, dict[str, str]]
) -> None:
    assert chosen_for(more | api, placed) in possible_for(api, placed)


@given(labels=LABELS, placed=SETS)
def test_without_rivals_one_fits_best(labels: dict[str, str], placed: dict[str, dict[str, str]]) -> None:
    if any(rival_of(name, placed) for name in placed):
        return
    best = chosen_for(labels, placed)
    fitting = [name for name, nodes in placed.items() if nodes.items() <= labels.items()]
    assert sorted(len(placed[name]) for name in fitting).count(len(placed.get(best, ()))) <= 1
