"""Rules: which targets a model's name has, and in which order they are tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the folder's name cannot be a package's
    from routing.latencies import FAILED, Latencies
else:
    from .latencies import FAILED, Latencies

Json = dict[str, Any]


@dataclass(frozen=True)
class Target:
    upstream: str
    model: str | None = None
    path: str | None = None
    weight: int = 1
    price: Decimal | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    format: str = "client"
    max_tokens: int = 4096
    limit_name: str = "max_completion_tokens"

    @classmethod
    def of(cls, params: Json) -> Target:
        price, credential = params.get("price"), params.get("credential")
        headers = (
            {credential["header"].lower(): credential["prefix"] + credential["value"].reveal()} if credential else {}
        )
        return cls(
            params["upstream"],
            params.get("model"),
            params.get("path"),
            params["weight"],
            None if price is None else Decimal(price),
            headers,
            params["format"],
            params["maxTokens"],
            params["limitName"],
        )


@dataclass(frozen=True)
class Rule:
    name: str
    order: str
    targets: tuple[Target, ...]
    latencies: Latencies

    @property
    def has_credentials(self) -> bool:
        return any(target.headers for target in self.targets)

    def in_order(self, random: Random) -> Sequence[Target]:
        """The targets, in the order in which they are tried."""
        match self.order:
            case "price":
                return sorted(self.targets, key=lambda target: (target.price is None, target.price or 0))
            case "weight":
                # By Efraimidis and Spirakis: the first is drawn by its weight, the next by its weight among the others.
                return sorted(self.targets, key=lambda target: -_draw(target.weight, random))
            case "latency":
                targets = {target.upstream: target for target in self.targets}
                return [targets[upstream] for upstream in self.latencies.in_order([*targets])]
            case _:
                return self.targets

    def learn(self, tried: Sequence[str], answered: str, seconds: float, *, has_failed: bool) -> None:
        """Keeps what an answer tells of the targets that were tried. Only the time of the first one is its own."""
        if self.order != "latency" or answered not in tried:
            return
        at = tried.index(answered)
        for upstream in tried[: at + has_failed]:
            self.latencies.add(upstream, FAILED)
        if at == 0 and not has_failed:
            self.latencies.add(answered, seconds)


def _draw(weight: int, random: Random) -> float:
    return random.random() ** (1 / weight) if weight else -1.0


class Rules:
    """The rules of an attachment, by the names of models."""

    def __init__(self, models: Sequence[Json]) -> None:
        self.random = Random()  # noqa: S311 - it spreads load
        self._exact: dict[str, Rule] = {}
        self._patterns: dict[str, Rule] = {}
        self._labels: dict[str, Rule] = {}
        for at, model in enumerate(models):
            targets = tuple(map(Target.of, model["targets"]))
            rule = Rule(model["names"][0], model["order"], targets, Latencies(self.random))
            upstreams = [target.upstream for target in rule.targets]
            for upstream in upstreams:
                if upstreams.count(upstream) > 1:
                    raise ValueError(f"models[{at}].targets: expected each upstream once, got {upstream!r} twice")
            self._labels[rule.name] = rule
            for name in model["names"]:
                self._add(name, rule, f"models[{at}].names")

    def _add(self, name: str, rule: Rule, where: str) -> None:
        names, key = (self._patterns, name[:-1]) if name.endswith("*") else (self._exact, name)
        if key in names:
            raise ValueError(f"{where}: expected each name once, got {name!r} twice")
        names[key] = rule

    def named(self, label: str) -> Rule | None:
        """The rule whose first name this is."""
        return self._labels.get(label)

    def find(self, model: str) -> Rule | None:
        if rule := self._exact.get(model):
            return rule
        lengths = sorted({len(prefix) for prefix in self._patterns}, reverse=True)
        return next((self._patterns[model[:size]] for size in lengths if model[:size] in self._patterns), None)
