"""What tokens cost, to the last digit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact, InvalidOperation
from pathlib import Path
from typing import Any

from gatewright.llm.usage import Usage

_NAMES = ("input", "output", "cachedInput", "cacheWrite")
_EXACT = Context(prec=100, traps=[Inexact, InvalidOperation])
"""More digits than any sum here has: prices have at most 12 before the point and 12 after it, counts at most 16."""
_MAX_PRICE = Decimal(10) ** 12
_MAX_DIGITS = 12


class PriceError(ValueError):
    """Prices that cannot be read. The text says where, what was expected and what was got."""


@dataclass(frozen=True, slots=True)
class Price:
    """Prices of a model for a million tokens each, in whatever currency the prices are in."""

    input: Decimal
    output: Decimal
    cached_input: Decimal
    cache_write: Decimal

    def cost(self, usage: Usage) -> Decimal:
        """The cost of these tokens. Those that were read from or written to the cache have prices of their own."""
        fresh = usage.input - usage.cached - usage.cache_written
        total = Decimal(0)
        for tokens, price in (
            (fresh, self.input),
            (usage.output, self.output),
            (usage.cached, self.cached_input),
            (usage.cache_written, self.cache_write),
        ):
            total = _EXACT.add(total, _EXACT.multiply(Decimal(tokens), price))
        return _EXACT.scaleb(total, -6)


class Prices:
    """Prices of models by their names. A name that ends with * is for all models that begin so: an exact name counts
    before such ones, and of these the longest. A * that is not at the end is refused.

        Prices({"gpt-4o": {"input": "2.50", "output": "10", "cachedInput": "1.25"}, "gpt-4o-mini*": {…}})

    input, output: required, for a million tokens; cachedInput, cacheWrite: that of input where they are not given.
    """

    def __init__(self, models: Mapping[str, Any], where: str = "prices") -> None:
        models = _members(models, where)
        if inner_stars := [name for name in models if "*" in name[:-1]]:
            raise PriceError(
                f"{where}: expected names with a * at their end alone, got {', '.join(inner_stars)}; end it there, or "
                f"list each model"
            )
        prices = {name: _price(price, f"{where}: {name}") for name, price in models.items()}
        self._exact = {name: price for name, price in prices.items() if not name.endswith("*")}
        beginnings = {name[:-1]: price for name, price in prices.items() if name.endswith("*")}
        self._beginnings = sorted(beginnings.items(), key=lambda item: -len(item[0]))

    @classmethod
    def load(cls, path: str | Path) -> Prices:
        """The prices of a JSON file, which has an object of models."""
        try:
            text = Path(path).read_bytes()
        except OSError as error:
            raise PriceError(f"{path}: expected a file of prices, got {error.strerror}") from None
        return cls.parse(text, str(path))

    @classmethod
    def parse(cls, text: str | bytes, where: str = "prices") -> Prices:
        """The prices of a JSON text, which has an object of models. Its numbers are read as decimals."""
        try:
            models = json.loads(text, parse_float=Decimal)
        except (ValueError, RecursionError) as error:
            raise PriceError(f"{where}: expected JSON, got {error}") from None
        return cls(models, where)

    def find(self, model: str) -> Price | None:
        """The price of a model; None: no price is known."""
        if model in self._exact:
            return self._exact[model]
        return next((price for start, price in self._beginnings if model.startswith(start)), None)

    def cost(self, model: str, usage: Usage) -> Decimal | None:
        """The exact cost of an answer. None: no price of the model is known, which is not the same as 0."""
        price = self.find(model)
        return None if price is None else price.cost(usage)


def _price(value: Any, where: str) -> Price:
    members = _members(value, where)
    unknown = sorted({*members} - {*_NAMES})
    if unknown:
        raise PriceError(f"{where}: expected {', '.join(_NAMES)}, got {', '.join(unknown)}")
    missing = [name for name in ("input", "output") if name not in members]
    if missing:
        raise PriceError(f"{where}: expected a price of input and of output, got none of {' and '.join(missing)}")
    amounts = {name: _amount(amount, f"{where}: {name}") for name, amount in members.items()}
    of_input = amounts["input"]
    return Price(of_input, amounts["output"], amounts.get("cachedInput", of_input), amounts.get("cacheWrite", of_input))


def _members(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise PriceError(f"{where}: expected an object, got {_shown(value)}")
    return value


def _amount(value: Any, where: str) -> Decimal:
    """A price as a decimal. A binary float stands for the shortest decimal that it is read from."""
    expected = f"{where}: expected a price for a million tokens, such as 2.50, from 0 to 10^12 with at most 12 decimals"
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise PriceError(f"{expected}, got {_shown(value)}")
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        raise PriceError(f"{expected}, got {_shown(value)}") from None
    exponent = amount.as_tuple().exponent
    is_price = isinstance(exponent, int) and 0 <= amount <= _MAX_PRICE and exponent >= -_MAX_DIGITS
    if not is_price:
        raise PriceError(f"{expected}, got {_shown(value)}")
    return amount


def _shown(value: Any) -> str:
    return repr(value)[:60]
