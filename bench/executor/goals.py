"""The goals of executors: medians of ratios within one round."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import median

from bench.executor.campaign import IMPORT, INPROC, RESIDENT, START, STREAM_IDLE, Figures, Sample
from bench.executor.cases import (
    BUILT_IN,
    COMPUTING,
    EIGHT,
    HEAVY,
    LIGHT,
    MANY,
    ONE_PERCENT,
    PAIR,
    QUIET,
    SLEEPY,
    V0,
    V1,
)
from bench.goal import Goal

Figure = Callable[[Sample], float]
CAP = 8 / (0.01 * 0.02)  # the most executions per second of eight workers if one in a hundred sleeps 20 ms


def rate(sample: Sample) -> float:
    return sample.rate


def cpu(sample: Sample) -> float:
    return sample.cpu


def p50(sample: Sample) -> float:
    return float(sample.result.p50) if sample.result else math.nan


def value(sample: Sample) -> float:
    return sample.value


def ratio(ours: Sequence[Sample], theirs: Sequence[Sample], figure: Figure) -> float:
    """The median of the ratios within a round; nan without a common round."""
    other = {sample.round: figure(sample) for sample in theirs}
    ratios = [figure(sample) / other[sample.round] for sample in ours if other.get(sample.round)]
    return median(ratios) if ratios else math.nan


def goals(figures: Figures) -> Iterator[Goal]:
    """All goals, with their figures."""
    yield from _closed(figures)
    yield from _mixes(figures)
    yield from _start(figures)


def _closed(figures: Figures) -> Iterator[Goal]:
    def of(case: str, server: str) -> Sequence[Sample]:
        return figures.get((case, server), ())

    at = "request-64"
    yield Goal("64 in flight: executions/s × V0", ratio(of(at, BUILT_IN), of(at, V0), rate), 6, 9)
    yield Goal("64 in flight: executions/s × V1", ratio(of(at, BUILT_IN), of(at, V1), rate), 18, 24)
    yield Goal("64 in flight: CPU × V0", ratio(of(at, BUILT_IN), of(at, V0), cpu), 0.16, 0.10, more=False)
    yield Goal("64 in flight: CPU × V1", ratio(of(at, BUILT_IN), of(at, V1), cpu), 0.055, 0.038, more=False)
    alone = "request-1"
    yield Goal("1 in flight: p50 × V0", ratio(of(alone, BUILT_IN), of(alone, V0), p50), 1.6, 1.0, more=False)
    yield Goal("1 in flight: p50 × V1", ratio(of(alone, BUILT_IN), of(alone, V1), p50), 0.7, 0.4, more=False)
    for case in ("response-64", "body-64"):
        yield Goal(f"{case.partition('-')[0]}, 64 in flight: CPU × V1", ratio(of(case, BUILT_IN), of(case, V1), cpu))


def _mixes(figures: Figures) -> Iterator[Goal]:
    quiet, mixed = (figures.get((case, EIGHT.key), ()) for case in (QUIET, ONE_PERCENT))
    capped = [Sample(s.case, s.server, s.round, min(s.rate, CAP)) for s in quiet]
    possible = {s.round: s.value for s in capped}
    shares = [sample.rate / possible[sample.round] for sample in mixed if possible.get(sample.round)]
    title = "1 % sleep 20 ms, 8 workers, 64 in flight"
    yield Goal(f"{title}: executions/s × what is possible", median(shares) if shares else math.nan)
    yield Goal(f"{title}: p50 × undisturbed", ratio(mixed, quiet, p50))
    free, title = figures.get((ONE_PERCENT, MANY.key), ()), "1 % sleep 20 ms, 72 workers, 64 in flight"
    yield Goal(f"{title}: executions/s × undisturbed", ratio(free, quiet, rate))
    yield Goal(f"{title}: p50 × undisturbed", ratio(free, quiet, p50))
    sleepy, v1 = figures.get((SLEEPY, MANY.key), ()), figures.get(("request-64", V1), ())
    yield Goal("each sleeps 1 ms, 72 workers: executions/s × V1 without sleep", ratio(sleepy, v1, rate))
    pair, single = (figures.get((COMPUTING, server), ()) for server in (PAIR.key, BUILT_IN))
    yield Goal("computing policy, 2 processes: executions/s × 1 process", ratio(pair, single, rate), 1.5)
    heavy, light = (figures.get((case, BUILT_IN), ()) for case in (HEAVY, LIGHT))
    yield Goal("open loop at 5 × V0: p50 × light load", ratio(heavy, light, p50), 2.5, 1.5, more=False)


def _start(figures: Figures) -> Iterator[Goal]:
    begun, imported, resident = (figures.get((case, BUILT_IN), ()) for case in (START, IMPORT, RESIDENT))
    yield Goal("start to serving × `import grpc`", ratio(begun, imported, value), 1.8, 1.4, more=False)
    yield Goal("MB at rest", median([s.value for s in resident]) if resident else math.nan, 48, 40, more=False)
    idle = figures.get((STREAM_IDLE, BUILT_IN), ())
    title = "KB of a stream that waits, of 2,000"
    yield Goal(title, median([s.value for s in idle]) if idle else math.nan, 30, 12, more=False)
    at, inproc = (figures.get((case, BUILT_IN), ()) for case in ("request-64", f"{INPROC}-request"))
    by_round = {sample.round: sample.value for sample in inproc}
    shares = [sample.cpu / by_round[sample.round] for sample in at if by_round.get(sample.round)]
    yield Goal("64 in flight: CPU × INPROC", median(shares) if shares else math.nan)
