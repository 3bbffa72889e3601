"""A budget: its period, whose it is, and what a request costs in its unit. No I/O."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal
from typing import Any, Literal

from sdk.llm import Prices, Usage
from sdk.policy import RequestContext
from sdk.store import MAX_AMOUNT

Unit = Literal["tokens", "money"]
Period = Literal["hour", "day", "month"]
BILLION = 10**9
"""Money is counted in billionths of its unit."""


@dataclass(frozen=True, slots=True)
class Span:
    """One hour, day or month."""

    name: str
    """The part of a key for it: 2026-12-02."""
    seconds: int
    """How long it is."""
    left: float
    """Seconds until it ends."""


def span_of(period: Period, now: float) -> Span:
    moment = datetime.fromtimestamp(now, UTC)
    match period:
        case "hour":
            start = moment.replace(minute=0, second=0, microsecond=0)
            end, name = start + timedelta(hours=1), f"{start:%Y-%m-%dT%H}"
        case "day":
            start = moment.replace(hour=0, minute=0, second=0, microsecond=0)
            end, name = start + timedelta(days=1), f"{start:%Y-%m-%d}"
        case "month":
            start = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
            end, name = (start + timedelta(days=32)).replace(day=1), f"{start:%Y-%m}"
    return Span(name, round((end - start).total_seconds()), end.timestamp() - now)


@dataclass(frozen=True, slots=True)
class Budget:
    name: str
    unit: Unit
    limit: int
    """Tokens, or billionths of money."""
    period: Period
    parts: tuple[tuple[str, str], ...]
    """Where the parts of the key are from, each with a name."""

    def key(self, ctx: RequestContext, span: Span) -> str:
        """The key in the store of the budget that the request belongs to, in this span."""
        values = [[source, name, _value(ctx, source, name)] for source, name in self.parts]
        text = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return f"{self.name}:{self.unit}:{self.period}:{span.name}:{hashlib.sha256(text.encode()).hexdigest()}"

    def show(self, amount: int) -> str:
        """An amount for people: 1000 tokens, 12.5."""
        if self.unit == "tokens":
            return f"{amount} tokens"
        return f"{(Decimal(amount) / BILLION).normalize():f}"


def budget_of(params: dict[str, Any]) -> Budget:
    parts = tuple((part["from"], part.get("name", "")) for part in params.get("per", [{"from": "subject"}]))
    if "tokens" in params:
        return Budget(params["name"], "tokens", params["tokens"], params["period"], parts)
    return Budget(params["name"], "money", int(Decimal(params["money"]) * BILLION), params["period"], parts)


def _value(ctx: RequestContext, source: str, name: str) -> Any:
    """The value of a part of the key as JSON; None where there is none."""
    if source == "header":
        return ctx.headers.get_all(name) or None
    identity = ctx.identity
    if identity is None:
        return None
    match source:
        case "subject":
            return [identity.issuer, identity.subject]
        case "consumer":
            return identity.consumer or None
        case "label":
            return identity.labels.get(name)
        case _:
            return identity.claims.get(name)


@dataclass(frozen=True, slots=True)
class Tariff:
    """What tokens of one request cost in the unit of a budget."""

    model: str
    prices: Prices

    @property
    def has_price(self) -> bool:
        return self.prices.find(self.model) is not None

    def most(self, unit: Unit, tokens_in: int, tokens_out: int) -> int:
        """The most that so many tokens can cost, at least 1, so that there is a reservation to settle: the input may be
        fresh, or written to the provider's cache."""
        if unit == "tokens":
            amount = tokens_in + tokens_out
        else:
            usages = Usage(tokens_in, tokens_out), Usage(tokens_in, tokens_out, cache_written=tokens_in)
            amount = max(self._billionths(usage, ROUND_CEILING) for usage in usages)
        return min(max(1, amount), MAX_AMOUNT)

    def cost(self, unit: Unit, usage: Usage | None) -> int:
        """What an answer has cost; 0 for one without usage."""
        if usage is None:
            return 0
        amount = usage.total if unit == "tokens" else self._billionths(usage, ROUND_HALF_EVEN)
        return min(amount, MAX_AMOUNT)

    def _billionths(self, usage: Usage, rounding: str) -> int:
        cost = self.prices.cost(self.model, usage)
        return 0 if cost is None else int((cost * BILLION).to_integral_value(rounding))
