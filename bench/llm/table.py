"""The figures of all rows, and the goals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import median

from bench import goal
from bench.goal import Goal
from bench.llm.measure import Held, LlmSample, Plan
from bench.llm.rows import DIRECT, GATEWRIGHT, KEYS, LITELLM, TITLES
from bench.sample import FOREIGN_LIMIT
from bench.target import ENVOY, GO, PYTHON

Figure = Callable[[LlmSample], float]
SHARE = 0.1
"""Of what LiteLLM's proxy adds."""
KIB = 1024


def event_p50(sample: LlmSample) -> float:
    return sample.times.event.p50


def event_p99(sample: LlmSample) -> float:
    return sample.times.event.p99


def token_p50(sample: LlmSample) -> float:
    return sample.times.token.p50


def token_p99(sample: LlmSample) -> float:
    return sample.times.token.p99


def late_p50(sample: LlmSample) -> float:
    return sample.times.late.p50


def late_p99(sample: LlmSample) -> float:
    return sample.times.late.p99


def whole_p50(sample: LlmSample) -> float:
    return sample.times.whole.p50


def markdown(samples: Sequence[LlmSample], held: Sequence[Held], plan: Plan) -> Iterator[str]:
    """The lines of all tables."""
    yield (
        f"- rounds: {plan.rounds}, samples of {plan.duration:g} s after {plan.warmup:g} s of warm-up, "
        f"{plan.rate:g} streams a second of {plan.tokens} tokens that are {1000 * plan.gap:g} ms apart"
    )
    yield f"\n{goal.markdown(goals(samples))}"
    yield (
        "\n| row | first event p50 ms | p99 | first token p50 ms | p99 | added p50 ms | added p99 "
        "| each token late p50 ms | p99 | whole p50 ms | CPU ms a stream: Envoy | engine | Python | all |"
    )
    yield "| --- |" + " ---: |" * 13
    for key in KEYS:
        yield row_line(key, samples)
    yield from wrong_answers(samples)
    yield from disturbances(samples)
    yield (
        f"\n{plan.held} streams at once, opened in {plan.opening:g} s, each with a token every {plan.held_gap:g} s:\n\n"
        "| row | with a first token | first token p50 ms | p99 | each token late p50 ms | p99 | cores "
        "| KiB of RSS a stream: Envoy | engine | Python | all |"
    )
    yield "| --- |" + " ---: |" * 10
    yield from map(held_line, held)


def goals(samples: Sequence[LlmSample]) -> Iterator[Goal]:
    """What our gateway adds, relative to what LiteLLM's proxy adds in the same round."""
    figures = {
        "first event: added p50": event_p50,
        "first event: added p99": event_p99,
        "first token: added p50": token_p50,
        "first token: added p99": token_p99,
    }
    for title, figure in figures.items():
        value = median(share(ours, theirs) for ours, theirs in zip(
            added(samples, GATEWRIGHT, figure), added(samples, LITELLM, figure), strict=True
        ))  # fmt: skip
        yield Goal(f"{title} × LiteLLM's", value, SHARE, more=False)
    costs = [of_row(samples, key) for key in (GATEWRIGHT, LITELLM)]
    value = median(share(ours.cpu_per_stream, theirs.cpu_per_stream) for ours, theirs in zip(*costs, strict=True))
    yield Goal("CPU of a stream × LiteLLM's", value, SHARE, more=False)


def share(ours: float, theirs: float) -> float:
    return ours / theirs if theirs > 0 else math.nan


def of_row(samples: Sequence[LlmSample], key: str) -> list[LlmSample]:
    """The samples of a row, by round."""
    return sorted((sample for sample in samples if sample.row == key), key=lambda sample: sample.round)


def added(samples: Sequence[LlmSample], key: str, figure: Figure) -> list[float]:
    """By round: how much more a row's figure is than that of the provider alone."""
    pairs = zip(of_row(samples, key), of_row(samples, DIRECT), strict=True)
    return [figure(own) - figure(direct) for own, direct in pairs]


def row_line(key: str, samples: Sequence[LlmSample]) -> str:
    own = of_row(samples, key)
    times = [
        milliseconds([figure(sample) for sample in own]) for figure in (event_p50, event_p99, token_p50, token_p99)
    ]
    more = [milliseconds(added(samples, key, figure)) if key != DIRECT else "" for figure in (token_p50, token_p99)]
    rest = [milliseconds([figure(sample) for sample in own]) for figure in (late_p50, late_p99, whole_p50)]
    costs = [
        median(1000 * sample.cpu.get(column, 0.0) / sample.streams for sample in own) for column in (ENVOY, GO, PYTHON)
    ]
    whole = median(sample.cpu_per_stream for sample in own)
    cells = [*times, *more, *rest, *(f"{cost:.2f}" for cost in (*costs, whole))]
    return f"| {TITLES[key]} | {' | '.join(cells)} |"


def milliseconds(values: Sequence[float]) -> str:
    """The median of values in µs, and their range."""
    low, middle, high = (f"{value / 1000:.1f}" for value in (min(values), median(values), max(values)))
    return f"{middle} ({low}–{high})" if len(values) > 1 else middle


def wrong_answers(samples: Sequence[LlmSample]) -> Iterator[str]:
    """Only of peers: one of ours ends the run."""
    for key in KEYS:
        wrong = [sample.times.whole for sample in of_row(samples, key) if sample.times.whole.failures]
        if wrong:
            count = sum(times.failures for times in wrong)
            right = sum(sample.times.whole.count for sample in of_row(samples, key))
            yield f"\n- {TITLES[key]}: {count} answers were wrong beside {right} right ones: {wrong[0].first_failure}"


def disturbances(samples: Sequence[LlmSample]) -> Iterator[str]:
    for key in KEYS:
        shares = [sample.foreign for sample in of_row(samples, key) if sample.foreign > FOREIGN_LIMIT]
        if shares:
            yield (
                f"\n- {TITLES[key]}: in {len(shares)} of {len(of_row(samples, key))} rounds other processes took up to "
                f"{100 * max(shares):.0f} % of a core, more than {100 * FOREIGN_LIMIT:.0f} %."
            )


def held_line(held: Held) -> str:
    token, late = held.times.token, held.times.late
    times = [f"{value / 1000:.1f}" for value in (token.p50, token.p99, late.p50, late.p99)]
    parts = [held.per_stream.get(column, 0.0) / KIB for column in (ENVOY, GO, PYTHON)]
    memory = [f"{part:.1f}" for part in (*parts, sum(held.per_stream.values()) / KIB)]
    return f"| {TITLES[held.row]} | {token.count} | {' | '.join([*times, f'{held.cores:.2f}', *memory])} |"
