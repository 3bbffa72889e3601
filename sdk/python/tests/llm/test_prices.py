"""Costs are exact, and unknown ones are not 0."""

import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from gatewright.llm import PriceError, Prices, Usage
from hypothesis import given
from hypothesis import strategies as st

PRICES = Prices(
    {
        "gpt-4o": {"input": "2.50", "output": 10, "cachedInput": 1.25},
        "gpt-4o*": {"input": "3", "output": "12"},
        "gpt-4o-mini*": {"input": "0.15", "output": "0.6", "cachedInput": "0.075"},
        "claude-*": {"input": "3", "output": "15", "cachedInput": "0.3", "cacheWrite": "3.75"},
        "free": {"input": 0, "output": 0},
    }
)
NO_PRICES: list[Any] = [
    *(None, True, [], "", "x", "-1", "NaN", "sNaN", "inf", float("nan"), "1e13", "1e-13", "1e999999999")
]
COUNTS = st.integers(0, 1 << 53)


@pytest.mark.parametrize(
    ("model", "usage", "cost"),
    [
        ("gpt-4o", Usage(1117, 46, cached=1024), "0.0019725"),
        ("gpt-4o-2024-08-06", Usage(1, 1), "0.000015"),
        ("gpt-4o-mini-2024-07-18", Usage(1_000_000, 0), "0.15"),
        ("claude-opus", Usage(2009, 393, cached=1800, cache_written=188), "0.007203"),
        ("free", Usage(5, 5), "0"),
        ("gpt-3", Usage(5, 5), None),
        ("", Usage(5, 5), None),
    ],
)
def test_the_cost_of_an_answer(model: str, usage: Usage, cost: str | None) -> None:
    assert PRICES.cost(model, usage) == (None if cost is None else Decimal(cost))


@given(COUNTS, COUNTS, COUNTS, COUNTS, st.lists(st.decimals(0, 10**12, places=12), min_size=4, max_size=4))
def test_costs_are_exact(fresh: int, cached: int, written: int, output: int, prices: list[Decimal]) -> None:
    names = ("input", "output", "cachedInput", "cacheWrite")
    model = Prices({"m": dict(zip(names, map(str, prices), strict=True))})
    cost = model.cost("m", Usage(fresh + cached + written, output, cached, written))
    assert cost is not None
    counts = zip((fresh, output, cached, written), prices, strict=True)
    assert Fraction(cost) == sum(count * Fraction(price) for count, price in counts) / 1_000_000


def test_a_million_small_costs_add_up() -> None:
    prices = Prices({"m": {"input": 0.1, "output": 0.2}})
    assert prices.cost("m", Usage(3, 3)) == Decimal("0.0000009")


def test_prices_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text('{"m": {"input": 0.100000000001, "output": 1e-3}}')
    assert Prices.load(path).cost("m", Usage(1_000_000, 1_000_000)) == Decimal("0.101000000001")


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ([], r"prices: expected an object, got \[\]"),
        ({"m": 1}, "prices: m: expected an object, got 1"),
        (
            {"gpt-*-mini": {"input": 1, "output": 1}},
            r"prices: expected names with a \* at their end alone, got gpt-\*-mini; end it there, or list each model",
        ),
        ({"m": {"input": 1}}, "prices: m: expected a price of input and of output, got none of output"),
        ({"m": {"input": 1, "output": 1, "cached": 1}}, "expected input, output, cachedInput, cacheWrite, got cached"),
        *(({"m": {"input": value, "output": 1}}, "prices: m: input: expected a price") for value in NO_PRICES),
    ],
)  # fmt: skip
def test_prices_that_are_refused(models: Any, message: str) -> None:
    with pytest.raises(PriceError, match=message):
        Prices(models)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"prices\.json: expected a file of prices, got No such file"),
        ("{", r"prices\.json: expected JSON, got Expecting property name"),
        (json.dumps([]), r"prices\.json: expected an object, got \[\]"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "prices.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(PriceError, match=message):
        Prices.load(path)
