"""Prices of the parameters, and of a file that is read again while the policy runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from sdk.background import Fresh
from sdk.llm import PriceError, Prices, Usage

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
    _load(path)  # so that the publisher reads what is wrong with it
    with Fresh(READ_SECONDS, lambda: _load(path), required=True) as file:
        yield Tariff(prices, file)


def _load(path: Path) -> Prices:
    try:
        text = path.read_bytes()
    except OSError as error:
        expected = f"a file of prices at {path} of the node, readable by its user {os.geteuid()}"
        raise PriceError(f"pricesFile: expected {expected}, got {error.strerror}; {_cure(path)}") from None
    return Prices.parse(text, str(path))


def _cure(path: Path) -> str:
    """What the operator does about a file that could not be read: the isolation of the process may be why."""
    only_here = f"the policy reads files of {FOLDER} alone"
    only_from_start = f"{only_here}, and not those of a folder that its process has not found at its start"
    if not os.access(FOLDER, os.F_OK):
        return f"make the folder on each node, and start the nodes again: {only_from_start}"
    if os.access(path, os.R_OK):
        return f"start the node again: {only_from_start}"
    if os.access(path, os.F_OK):
        return "let that user read it, on each node"
    return f"put it there on each node: {only_here}"
