"""Prices of the parameters, and of a file that is read again while the policy runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from sdk.background import Fresh
from sdk.llm import Prices, Usage

FOLDER = Path("/etc/gatewright/prices")
READ_SECONDS = 60


class Tariff:
    def __init__(self, prices: Prices, file: Fresh[Prices] | None) -> None:
        self._prices = prices
        self._file = file

    def cost(self, models: tuple[str, ...], usage: Usage) -> Decimal | None:
        """The exact cost by the first of these models that has a price; None if none has."""
        sources = [self._prices] if self._file is None else [self._prices, self._file.value]
        costs = (source.cost(model, usage) for model in models for source in sources)
        return next((cost for cost in costs if cost is not None), None)


@contextmanager
def open_tariff(params: dict[str, Any]) -> Iterator[Tariff]:
    """The prices of the parameters. A PriceError if there is a file that has none."""
    prices = Prices(params["prices"])
    if "pricesFile" not in params:
        yield Tariff(prices, None)
        return
    path = FOLDER / params["pricesFile"]
    Prices.load(path)  # so that the publisher reads what is wrong with it
    with Fresh(READ_SECONDS, lambda: Prices.load(path), required=True) as file:
        yield Tariff(prices, file)
