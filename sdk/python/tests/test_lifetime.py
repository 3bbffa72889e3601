"""prepare and close, in each of their forms, by the means of a policy's own tests."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gatewright import testing
from gatewright.lifetime import LifetimeError
from gatewright.policy import Policy, PolicyMetadata

Load = Callable[[str], Any]
ABOUT = PolicyMetadata("quota", "v1.0.0", "orders-v1", "v1.0", operation="GET /{id}")


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(source: str) -> Any:
        (tmp_path / "policy.py").write_text(f"seen = []\n{source}\n")
        return testing.load_policy(str(tmp_path / "test_policy.py"))

    return load


SYNC = [
    "def prepare(params): return params['a']\ndef close(prepared): seen.append(prepared)",
    "def prepare(params):\n yield params['a']\n seen.append(params['a'])",
    "def prepare(params, metadata): return params['a']\nasync def close(prepared): seen.append(prepared)",
    "def prepare(params, metadata, /): return params['a']\ndef close(prepared): seen.append(prepared)",
]
ASYNC = [
    "async def prepare(params): return params['a']\nasync def close(prepared): seen.append(prepared)",
    "async def prepare(params): return params['a']\ndef close(prepared): seen.append(prepared)",
    "async def prepare(params):\n yield params['a']\n seen.append(params['a'])",
]


@pytest.mark.parametrize("source", SYNC)
def test_what_prepare_makes_is_closed(load: Load, source: str) -> None:
    policy = load(source)
    with testing.prepared(policy, {"a": 7}) as made:
        assert (made, policy.seen) == (7, [])
    assert policy.seen == [7]


@pytest.mark.parametrize("source", SYNC + ASYNC)
def test_it_is_closed_in_a_loop_too(load: Load, source: str) -> None:
    policy = load(source)

    async def run() -> None:
        async with testing.prepared(policy, {"a": 7}) as made:
            assert (made, policy.seen) == (7, [])

    asyncio.run(run())
    assert policy.seen == [7]


@pytest.mark.parametrize("source", ASYNC)
def test_an_async_prepare_needs_a_loop(load: Load, source: str) -> None:
    with pytest.raises(TypeError, match="expected `async with"), testing.prepared(load(source), {"a": 7}):
        pass


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [("params, metadata", True), ("params, metadata=None", True), ("params", False), ("params, cache=None", False)],
)
def test_metadata_is_passed_if_the_function_names_it(load: Load, arguments: str, expected: bool) -> None:
    policy = load(f"def prepare({arguments}): return locals().get('metadata')")
    with testing.prepared(policy, {}, ABOUT) as made:
        assert made is (ABOUT if expected else None)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("params, shared", {"shared": "made"}),
        ("params, shared, metadata", {"shared": "made", "metadata": ABOUT}),
        ("params, metadata, shared", {"shared": "made", "metadata": ABOUT}),
        ("params, /, metadata, *, shared", {"shared": "made", "metadata": ABOUT}),
        ("params, shared, /", {"shared": "made"}),
        ("params, cache=None, shared=None", {"cache": None, "shared": "made"}),
        ("params, *shared", {"shared": ()}),
        ("params, **more", {"more": {}}),
    ],
)
def test_shared_state_is_passed_if_the_function_names_it(load: Load, arguments: str, expected: dict[str, Any]) -> None:
    policy = load(f"def prepare({arguments}):\n given = dict(locals())\n del given['params']\n return given")
    with testing.prepared(policy, {}, ABOUT, shared="made") as made:
        assert made == expected


SETUPS = {
    "returns": ("def setup(): return 7", []),
    "yields": ("def setup():\n yield 7\n seen.append('closed')", ["closed"]),
    "asks": ("def setup(system_params):\n yield system_params['n']\n seen.append('closed')", ["closed"]),
    "async returns": ("async def setup(): return 7", []),
    "async yields": ("async def setup(system_params):\n yield system_params['n']\n seen.append('closed')", ["closed"]),
}


@pytest.mark.parametrize("form", SETUPS)
def test_what_setup_makes_is_closed(load: Load, form: str) -> None:
    source, closed = SETUPS[form]
    policy = load(source)

    async def run() -> None:
        async with testing.setup(policy, {"n": 7}) as shared:
            assert (shared, policy.seen) == (7, [])
            ctx = testing.request(shared=shared)
            assert testing.streaming(testing.response(request=ctx), testing.stream()).shared == 7

    asyncio.run(run())
    assert policy.seen == closed
    if "async" not in form:
        with testing.setup(policy, {"n": 7}) as shared:
            assert shared == 7
    else:
        with pytest.raises(TypeError, match=r"async with testing\.setup"), testing.setup(policy, {"n": 7}):
            pass


def test_a_policy_may_have_no_setup(load: Load) -> None:
    with testing.setup(load("")) as shared:
        assert shared is None


@pytest.mark.parametrize("start", ["def", "async def"])
def test_a_setup_yields_once(load: Load, start: str) -> None:
    async def run() -> None:
        async with testing.setup(load(f"{start} setup():\n if False: yield")):
            pass

    with pytest.raises(LifetimeError, match=r"expected setup to yield once, .* the value of ctx\.shared"):
        asyncio.run(run())


def test_params_are_read_only(load: Load) -> None:
    policy = load("def prepare(params): params['a'] = 1")
    with pytest.raises(TypeError, match="read-only"), testing.prepared(policy, {}):
        pass


def test_a_policy_may_have_neither_prepare_nor_close(load: Load) -> None:
    with testing.prepared(load("")) as made:
        assert made is None


@pytest.mark.parametrize(
    ("body", "sentence"),
    [("if False: yield", "without a yield"), ("yield 1\n yield 2", "it yielded again")],
)
@pytest.mark.parametrize("start", ["def", "async def"])
def test_a_yield_too_few_or_too_many(load: Load, start: str, body: str, sentence: str) -> None:
    policy = load(f"{start} prepare(params):\n {body}")

    async def run() -> None:
        async with testing.prepared(policy):
            pass

    with pytest.raises(LifetimeError, match=sentence):
        asyncio.run(run())


def test_a_policy_is_closed_when_its_test_fails(load: Load) -> None:
    policy = load(SYNC[0])
    with pytest.raises(ZeroDivisionError), testing.prepared(policy, {"a": 7}):
        raise ZeroDivisionError
    assert policy.seen == [7]


def test_the_deprecated_class_takes_what_its_factory_was_given() -> None:
    class Old(Policy):
        def __init__(self, metadata: PolicyMetadata, params: dict[str, Any]) -> None:
            super().__init__(metadata, params)

    old = Old(ABOUT, {"a": 7})
    assert (old.metadata, old.params) == (ABOUT, {"a": 7})
