from __future__ import annotations

from collections.abc import Sequence

import pytest
from gatewright_controller.model import Api, from_document, to_document, without_written_defaults
from gatewright_controller.plans.plan import ApiPlan, Intent, WantedApi
from gatewright_controller.plans.planner import plan_apis
from gatewright_controller.resource.claims import Claim, claims_of
from gatewright_controller.store import StoredApi
from hypothesis import given
from hypothesis import strategies as st

TEAM, OTHER = "team-a", "team-b"
NO_OWNER, PRUNE = Intent(), Intent(TEAM, prune=True)


def api(name: str, context: str, hosts: Sequence[str] = (), listeners: Sequence[str] = (), **spec: object) -> Api:
    upstream = {"main": {"url": "http://orders"}}
    operations = [{"method": "GET", "path": "/"}]
    written = {"version": "v1", "context": context, "hosts": list(hosts), "listeners": list(listeners), **spec}
    return from_document(
        {
            "apiVersion": "gatewright.dev/v1",
            "kind": "Api",
            "metadata": {"name": name},
            "spec": {"upstream": upstream, "operations": operations, **written},
        }
    )


def stored(written: Api, owner: str = "", revision: int = 1) -> StoredApi:
    return StoredApi(written, revision, "2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z", (), owner)


def wanted(written: Api) -> WantedApi:
    return WantedApi(written, ())


def plan(present: Sequence[StoredApi], *apis: Api, intent: Intent = NO_OWNER) -> ApiPlan:
    return plan_apis(present, [wanted(written) for written in apis], intent)


def steps(made: ApiPlan) -> list[str]:
    """`rename a → b`, in order."""
    return [f"{step.action} {f'{step.renamed_from} → ' if step.renamed_from else ''}{step.name}" for step in made.steps]


def after(present: Sequence[StoredApi], made: ApiPlan, revision: int = 2) -> list[StoredApi]:
    """What is stored once the plan is applied."""
    kept = {known.name: known for known in present}
    for step in made.steps:
        if step.before:
            del kept[step.before.name]
    kept |= {step.name: stored(step.after.api, step.owner, revision) for step in made.steps if step.after}
    return list(kept.values())


# ------------------------------------------------------------ diffs that never end


@pytest.mark.parametrize(
    "written",
    [
        {"strictPaths": True},
        {"accessLog": "all"},
        {"policies": []},
        {"hosts": []},
        {"upstream": {"main": {"url": "http://orders", "loadBalancing": {"algorithm": "leastRequest"}}}},
        {"operations": [{"policies": [], "path": "/", "headers": [], "method": "GET"}]},
    ],
)
def test_a_default_that_is_written_is_no_difference(written: dict[str, object]) -> None:
    spec = {"hosts": (), **written}
    made = plan([stored(api("a", "/a"))], api("a", "/a", **spec))  # type: ignore[arg-type]
    assert (steps(made), made.unchanged) == ([], ("a",))


def test_a_default_that_is_written_is_neither_kept_nor_shown() -> None:
    written = api("a", "/a", upstream={"main": {"url": "http://orders", "dns": {"refresh": "7s"}, "loadBalancing": {}}})
    document = to_document(without_written_defaults(written))
    assert document["spec"]["upstream"]["main"].keys() == {"url", "dns"}


def test_the_order_of_keys_is_no_difference() -> None:
    def with_params(params: dict[str, int]) -> Api:
        return api("a", "/a", policies=[{"name": "p", "version": "v1", "params": params}])

    made = plan_apis(
        [StoredApi(with_params({"x": 1, "y": 2}), 1, "", "", ("v1.0.0",))],
        [WantedApi(with_params({"y": 2, "x": 1}), ("v1.0.0",))],
        Intent(),
    )
    assert made.unchanged == ("a",)


def test_true_is_not_one() -> None:
    def with_value(value: object) -> Api:
        return api("a", "/a", policies=[{"name": "p", "version": "v1", "params": {"x": value}}])

    present = StoredApi(with_value(1), 1, "", "", ("v1.0.0",))
    made = plan_apis([present], [WantedApi(with_value(True), ("v1.0.0",))], Intent())
    assert steps(made) == ["change a"]


def test_another_version_of_a_policy_is_a_change_once() -> None:
    written = api("a", "/a", policies=[{"name": "p", "version": "v1"}])
    present, newer = StoredApi(written, 1, "", "", ("v1.2.0",)), WantedApi(written, ("v1.3.0",))
    assert steps(plan_apis([present], [newer], Intent())) == ["change a"]
    assert steps(plan_apis([StoredApi(written, 2, "", "", ("v1.3.0",))], [newer], Intent())) == []


# ------------------------------------------------------------ whose is what


def test_what_no_one_owns_becomes_the_owners_once() -> None:
    present = [stored(api("a", "/a"))]
    made = plan(present, api("a", "/a"), intent=Intent(TEAM))
    assert [(step.action, step.owner) for step in made.steps] == [("change", TEAM)]
    assert steps(plan(after(present, made), api("a", "/a"), intent=Intent(TEAM))) == []


def test_an_apply_without_an_owner_keeps_the_stored_one() -> None:
    made = plan([stored(api("a", "/a"), TEAM)], api("a", "/other"))
    assert [(step.action, step.owner) for step in made.steps] == [("move", TEAM)]


def test_what_another_owner_has_is_refused_unless_it_is_taken_over() -> None:
    present = [stored(api("a", "/a"), OTHER)]
    assert [known.name for known in plan(present, api("a", "/a"), intent=Intent(TEAM)).foreign] == ["a"]
    made = plan(present, api("a", "/a"), intent=Intent(TEAM, take_over=True))
    assert (made.foreign, steps(made), made.steps[0].owner) == ((), ["change a"], TEAM)


# ------------------------------------------------------------ prune with the wrong reach


def test_prune_reaches_what_the_owner_applied_and_nothing_else() -> None:
    present = [stored(api("a", "/a"), TEAM), stored(api("b", "/b"), OTHER), stored(api("c", "/c"))]
    assert steps(plan(present, api("d", "/d"), intent=PRUNE)) == ["add d", "delete a"]
    assert steps(plan(present, api("d", "/d"), intent=Intent(TEAM))) == ["add d"]
    assert steps(plan(present, api("d", "/d"), intent=Intent(TEAM, prune=True, take_over=True))) == [
        "add d",
        "delete a",
    ]


def test_prune_without_an_owner_reaches_nothing() -> None:
    """Else it would reach all that no one owns."""
    assert steps(plan([stored(api("a", "/a"))], api("d", "/d"), intent=Intent(prune=True))) == ["add d"]


# ------------------------------------------------------------ renames


def test_one_that_goes_and_one_that_comes_with_the_same_claims_are_one() -> None:
    made = plan([stored(api("a", "/x"), TEAM)], api("b", "/x"), intent=PRUNE)
    assert (steps(made), made.conflicts) == (["rename a → b"], ())


@pytest.mark.parametrize(("owner", "intent"), [(TEAM, Intent(TEAM)), ("", PRUNE), (OTHER, PRUNE)])
def test_a_rename_of_what_is_not_pruned_is_refused_with_the_holder(owner: str, intent: Intent) -> None:
    made = plan([stored(api("a", "/x"), owner)], api("b", "/x"), intent=intent)
    (conflict,) = made.conflicts
    assert (conflict.name, conflict.winner, conflict.owner, conflict.may_be_renamed) == ("b", "a", owner, True)
    assert conflict.since == "2026-01-02T00:00:00.000Z"


def test_names_that_change_places_move_their_contexts() -> None:
    """A name is an identity: none is renamed while both are there."""
    present = [stored(api("a", "/x"), TEAM), stored(api("b", "/y"), TEAM)]
    made = plan(present, api("a", "/y"), api("b", "/x"), intent=PRUNE)
    assert (steps(made), made.conflicts) == (["move a", "move b"], ())


def test_a_rename_to_a_name_that_is_taken_is_a_move_and_a_deletion() -> None:
    present = [stored(api("a", "/x"), TEAM), stored(api("b", "/y"), TEAM)]
    made = plan(present, api("b", "/x"), api("c", "/y"), intent=PRUNE)
    assert (steps(made), made.conflicts) == (["move b", "add c", "delete a"], ())


def test_a_renamed_api_with_another_context_is_another_api() -> None:
    made = plan([stored(api("a", "/x"), TEAM)], api("b", "/y"), intent=PRUNE)
    assert steps(made) == ["add b", "delete a"]


# ------------------------------------------------------------ conflicts


def test_a_context_passes_from_one_api_to_another() -> None:
    made = plan([stored(api("a", "/x"))], api("a", "/y"), api("b", "/x"))
    assert (steps(made), made.conflicts) == (["move a", "add b"], ())


def test_of_two_in_a_set_the_one_that_has_the_context_wins() -> None:
    made = plan([stored(api("b", "/x"), TEAM)], api("a", "/x"), api("b", "/x"), intent=Intent(TEAM))
    assert [(conflict.name, conflict.winner, conflict.since) for conflict in made.conflicts] == [
        ("a", "b", "2026-01-02T00:00:00.000Z")
    ]


def test_of_two_new_ones_in_a_set_the_first_wins() -> None:
    made = plan([], api("b", "/x"), api("a", "/x"), api("c", "/x"))
    found = [(conflict.name, conflict.winner, conflict.since) for conflict in made.conflicts]
    assert found == [("a", "b", ""), ("c", "b", "")]


def test_hosts_and_listeners_have_to_overlap() -> None:
    present = [stored(api("a", "/x", ["a.example"], ["inside"]))]
    assert plan(present, api("b", "/x", ["b.example"])).conflicts == ()
    assert plan(present, api("b", "/x", ["a.example"], ["outside"])).conflicts == ()
    (conflict,) = plan(present, api("b", "/x", ["a.example"])).conflicts
    assert (conflict.claim, conflict.winner, conflict.since) == (
        Claim("a.example", "/x", ""),
        "a",
        "2026-01-02T00:00:00.000Z",
    )


# ------------------------------------------------------------ any sequence

NAMES, CONTEXTS = st.sampled_from("abcd"), st.sampled_from(["/x", "/y", "/z"])
HOSTS = st.lists(st.sampled_from(["a.example", "b.example"]), max_size=2, unique=True)
SETS = st.dictionaries(NAMES, st.tuples(CONTEXTS, HOSTS, st.sampled_from([["in"], ["out"], []])), max_size=4)
INTENTS = st.builds(Intent, st.sampled_from(["", TEAM, OTHER]), st.booleans(), st.booleans())


def expected(present: dict[str, StoredApi], apis: dict[str, Api], intent: Intent) -> dict[str, tuple[Api, str]] | None:
    """What is to be stored after an apply, by the words of the reference alone; None where it is refused."""
    result = {name: (known.api, known.owner) for name, known in present.items()}
    for name, written in apis.items():
        owner = result[name][1] if name in result else ""
        if intent.owner and not intent.take_over and owner not in ("", intent.owner):
            return None
        result[name] = (written, intent.owner or owner)
    if intent.prune and intent.owner:
        result = {name: kept for name, kept in result.items() if name in apis or kept[1] != intent.owner}
    held: list[Claim] = []
    for written, _ in result.values():
        own = list(claims_of(written.spec.hosts, written.spec.context, written.spec.listeners))
        if any(mine.clashes(theirs) for mine in own for theirs in held):
            return None
        held += own
    return result


@given(st.lists(st.tuples(SETS, INTENTS), max_size=6))
def test_any_sequence_of_sets_leaves_what_the_words_say(sequence: list[tuple[dict[str, tuple], Intent]]) -> None:  # type: ignore[type-arg]
    present: dict[str, StoredApi] = {}
    for number, (written, intent) in enumerate(sequence, 2):
        apis = {name: api(name, *fields) for name, fields in written.items()}
        made = plan(list(present.values()), *apis.values(), intent=intent)
        wished = expected(present, apis, intent)
        assert bool(made.conflicts or made.foreign) == (wished is None)
        if wished is None:
            continue
        result = {known.name: known for known in after(list(present.values()), made, number)}
        assert {name: (known.api, known.owner) for name, known in result.items()} == wished
        again = plan(list(result.values()), *apis.values(), intent=intent)
        assert (again.steps, again.unchanged, again.conflicts) == ((), tuple(sorted(apis)), ())
        assert {name for name, known in result.items() if known.revision == number} == {
            step.name for step in made.steps if step.after
        }
        present = result
