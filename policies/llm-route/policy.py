"""Sends requests to language models to the upstreams that have the models, one after the other until one answers.

The request phase finds the rule of the model's name and names the attempts; the gateway makes them. Each has a body
with the name that the model has at its upstream, and the upstream's credentials. The response phase sees the answer
that won.

Limits. Requests are not translated: all targets of a model speak the API that the client speaks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any

from sdk import llm
from sdk.metrics import Counter
from sdk.policy import (
    Attempt,
    ImmediateResponse,
    RequestAction,
    RequestContext,
    ResponseAction,
    ResponseContext,
    UpstreamRequestModifications,
)

Json = dict[str, Any]
NOTE = "llm-route"
"""The key of the exchange's metadata: the rule, and the upstreams in the order in which they are tried."""
CREDENTIALS = ("authorization", "x-api-key", "api-key", "x-goog-api-key")
ANSWERS = Counter(
    "llm_route_answers_total",
    "Answers to requests for models, by the attempt.",
    ["api", "model", "upstream", "attempt"],
)


@dataclass(frozen=True)
class Target:
    upstream: str
    model: str | None = None
    path: str | None = None
    weight: int = 1
    price: Decimal | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

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
        )


@dataclass(frozen=True)
class Rule:
    name: str
    order: str
    targets: tuple[Target, ...]

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
            case _:
                return self.targets


def _draw(weight: int, random: Random) -> float:
    return random.random() ** (1 / weight) if weight else -1.0


class Rules:
    """The rules of an attachment, by the names of models."""

    def __init__(self, models: Sequence[Json]) -> None:
        self.random = Random()  # noqa: S311 - it spreads load
        self._exact: dict[str, Rule] = {}
        self._patterns: dict[str, Rule] = {}
        for at, model in enumerate(models):
            rule = Rule(model["names"][0], model["order"], tuple(map(Target.of, model["targets"])))
            upstreams = [target.upstream for target in rule.targets]
            for upstream in upstreams:
                if upstreams.count(upstream) > 1:
                    raise ValueError(f"models[{at}].targets: expected each upstream once, got {upstream!r} twice")
            for name in model["names"]:
                self._add(name, rule, f"models[{at}].names")

    def _add(self, name: str, rule: Rule, where: str) -> None:
        names, key = (self._patterns, name[:-1]) if name.endswith("*") else (self._exact, name)
        if key in names:
            raise ValueError(f"{where}: expected each name once, got {name!r} twice")
        names[key] = rule

    def find(self, model: str) -> Rule | None:
        if rule := self._exact.get(model):
            return rule
        lengths = sorted({len(prefix) for prefix in self._patterns}, reverse=True)
        return next((self._patterns[model[:size]] for size in lengths if model[:size] in self._patterns), None)


def prepare(params: Json) -> Rules:
    return Rules(params["models"])


def on_request(ctx: RequestContext, params: Json) -> RequestAction:
    request = llm.read_request(ctx.method, ctx.path, ctx.body or b"")
    if request is None:
        return None
    rules: Rules = ctx.prepared
    rule = rules.find(request.model)
    if rule is None:
        return None if params["unknownModels"] == "pass" else refusal(request.model)
    targets = rule.in_order(rules.random)
    ctx.metadata[NOTE] = {"model": rule.name, "upstreams": [target.upstream for target in targets]}
    attempts = [attempt_at(target, request, ctx) for target in targets]
    action = UpstreamRequestModifications(
        remove_headers=CREDENTIALS if rule.has_credentials else [],
        analytics_metadata={"llmRoute": {"model": rule.name}},
    )
    if len(attempts) > 1:
        action.attempts = attempts
    else:
        choose(action, attempts[0], ctx)
    return action


def choose(action: UpstreamRequestModifications, only: Attempt, ctx: RequestContext) -> None:
    """Makes the request that of the only attempt, for which an operation needs no `failover`."""
    action.upstream, action.set_headers, action.body = only.upstream, only.set_headers, only.body
    if only.path is not None:
        action.path = ctx.api_context.rstrip("/") + only.path


def attempt_at(target: Target, request: llm.LlmRequest, ctx: RequestContext) -> Attempt:
    path, body = target.path, None
    if request.shape == "gemini":
        if target.model is not None and path is None:
            path = gemini_path(ctx, target.model)
    elif request.is_ambiguous or target.model not in (None, request.model):
        body = json.dumps({**request.document, "model": target.model or request.model})
    return Attempt(target.upstream, dict(target.headers), path, body)


def gemini_path(ctx: RequestContext, model: str) -> str:
    """The path behind the API's context, with another model: /v1beta/models/MODEL:generateContent."""
    before, _, last = ctx.path.removeprefix(ctx.api_context.rstrip("/")).rpartition("/")
    return f"{before}/{model}:{last.rpartition(':')[2]}"


def refusal(model: str) -> ImmediateResponse:
    """In a form that clients of OpenAI and of Anthropic read."""
    message = f"the model {model!r} is none of this API's: ask for one that its publisher names"
    error = {"type": "not_found_error", "code": "model_not_found", "message": message}
    return ImmediateResponse(404, {"content-type": "application/json"}, json.dumps({"type": "error", "error": error}))


def on_response(ctx: ResponseContext, params: Json) -> ResponseAction:
    note = ctx.metadata.get(NOTE)
    if note is not None:
        upstream, tried = ctx.request.upstream or "", note["upstreams"]
        attempt = tried.index(upstream) + 1 if upstream in tried else 0
        ANSWERS.inc(api=ctx.policy.api_name, model=note["model"], upstream=upstream, attempt=str(attempt))
        ctx.metadata[NOTE] = {**note, "answeredBy": upstream}
    return None
