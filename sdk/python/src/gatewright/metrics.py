"""A policy's own metrics: how often something has happened, how much there is of it, how long it takes.

    from sdk.metrics import Counter

    REFUSED = Counter("keys_refused_total", "Requests without a valid key.", labels=["reason"])

    def on_request(ctx, params):
        …
        REFUSED.inc(reason="expired")

A metric is made when the policy's module is imported, or in `prepare`. A node's `/metrics` has it as
`gatewright_policy_keys_refused_total{policy="api-key:v1.0.0",reason="expired"}`, summed over all executor processes;
the gateway adds the label `policy`. A metric that is made again alike is the same object, so that all attachments of a
policy count together.

An invalid metric (its name, its labels, a different metric of the same name) raises MetricError where it is made, and
the policy is refused. An invalid observation (other labels, NaN, a counter that goes down) raises MetricError in tests.
In a gateway it is dropped, counted as refused and logged once, since a metric must not fail a request.

Names: https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from types import TracebackType
from typing import Any, ClassVar, Generic, Literal, Self, TypeAlias, TypeVar

from gatewright.metric_rules import MetricError, check_definition

__all__ = [
    "DEFAULT_BUCKETS", "Counter", "CounterSeries", "Gauge", "GaugeSeries", "Histogram", "HistogramSeries",
    "MetricError", "Timer",
]  # fmt: skip

DEFAULT_BUCKETS = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0, 30.0,
)  # fmt: skip
"""Upper bounds in seconds, from 50 µs to 30 s."""

MAX_LABEL_SETS = 1000  # of one metric, by default
MAX_METRICS = 200  # of one policy
MAX_VALUE = 256  # characters of a label's value
LabelValue: TypeAlias = str | int
Kind: TypeAlias = Literal["counter", "gauge", "histogram"]

_INFINITE = float("inf")
log = logging.getLogger(__name__)


# ------------------------------------------------------------------ one set of label values


class CounterSeries:
    """A counter with values for its labels. It only grows."""

    __slots__ = ("_below", "_metric", "amount")

    def __init__(self, metric: _Metric[Any], is_kept: bool) -> None:
        self._metric = metric
        self._below = _INFINITE if is_kept else -_INFINITE  # no amount fits a series that is not kept
        self.amount = 0.0

    def inc(self, amount: float = 1.0) -> None:
        """Adds an amount, 0 or more."""
        metric = self._metric
        try:
            if 0 <= amount < self._below:
                with metric.lock:
                    self.amount += amount
                    metric.changed = True
                return
        except (TypeError, OverflowError):
            pass
        metric.refuse_amount("a finite number from 0, for a counter only grows", amount, self._below)


class GaugeSeries:
    """A gauge with values for its labels. It goes up and down."""

    __slots__ = ("_below", "_metric", "amount")

    def __init__(self, metric: _Metric[Any], is_kept: bool) -> None:
        self._metric = metric
        self._below = _INFINITE if is_kept else -_INFINITE
        self.amount = 0.0

    def set(self, value: float) -> None:
        """Sets the gauge to this value."""
        metric = self._metric
        try:
            if -_INFINITE < value < self._below:
                with metric.lock:
                    self.amount = float(value)
                    metric.changed = True
                return
        except (TypeError, OverflowError):
            pass
        metric.refuse_amount("a finite number", value, self._below)

    def inc(self, amount: float = 1.0) -> None:
        """Adds an amount."""
        metric = self._metric
        try:
            if -_INFINITE < amount < self._below:
                with metric.lock:
                    self.amount += amount
                    metric.changed = True
                return
        except (TypeError, OverflowError):
            pass
        metric.refuse_amount("a finite number", amount, self._below)

    def dec(self, amount: float = 1.0) -> None:
        """Subtracts an amount."""
        try:
            self.inc(-amount)
        except TypeError:
            self._metric.refuse_amount("a finite number", amount, self._below)


class HistogramSeries:
    """A histogram with values for its labels."""

    __slots__ = ("_below", "_bounds", "_metric", "amount", "buckets")

    def __init__(self, metric: _Metric[Any], is_kept: bool) -> None:
        self._metric = metric
        self._below = _INFINITE if is_kept else -_INFINITE
        self._bounds = metric.bounds
        self.amount = 0.0  # the sum of the observed values
        self.buckets = [0] * (len(metric.bounds) + 1)  # not cumulative; the last one counts values above all bounds

    def observe(self, value: float) -> None:
        """Counts a value, in base units: seconds or bytes."""
        metric = self._metric
        try:
            if -_INFINITE < value < self._below:
                bucket = bisect_left(self._bounds, value)
                with metric.lock:
                    self.buckets[bucket] += 1
                    self.amount += value
                    metric.changed = True
                return
        except (TypeError, OverflowError):
            pass
        metric.refuse_amount("a finite number", value, self._below)

    def time(self) -> Timer:
        """Observes the seconds that a `with` statement takes, also if its body raises."""
        return Timer(self)


class Timer:
    """The context manager that `time()` returns. It may be entered once at a time."""

    __slots__ = ("_began", "_series")

    def __init__(self, series: HistogramSeries) -> None:
        self._series = series
        self._began = 0.0

    def __enter__(self) -> Self:
        self._began = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._series.observe(time.perf_counter() - self._began)


AnySeries: TypeAlias = CounterSeries | GaugeSeries | HistogramSeries
Series = TypeVar("Series", CounterSeries, GaugeSeries, HistogramSeries)


# ------------------------------------------------------------------ metrics


class _Metric(Generic[Series]):
    """The common part of all metrics. A metric that is made twice alike for one policy is the same object."""

    kind: ClassVar[Kind]
    _series: ClassVar[type[Any]]
    name: str
    documentation: str
    label_names: tuple[str, ...]
    bounds: tuple[float, ...]
    max_label_sets: int
    lock: threading.RLock  # reentrant, since a finalizer that runs while it is held may count too
    changed: bool  # since it was last collected
    version: int  # of the registry when the metric last changed before a collection
    refused: int  # observations
    _logged: set[str]
    _pick: Callable[[Mapping[str, Any]], Any]
    _by_labels: dict[Any, Series]  # by the values that _pick returns, if all of them are str
    _all: dict[tuple[str, ...], Series]
    _surplus: Series  # takes the observations that are dropped

    def __new__(cls, *arguments: Any, **more: Any) -> Self:
        return registry.add(cls, *arguments, **more)

    def _define(
        self, name: str, documentation: str, labels: Sequence[str], bounds: tuple[float, ...], max_label_sets: int
    ) -> None:
        self.name, self.documentation, self.label_names, self.bounds = name, documentation, tuple(labels), bounds
        self.max_label_sets = max_label_sets
        self.lock = threading.RLock()
        self.changed, self.version, self.refused = True, 0, 0
        self._logged = set()
        self._pick = itemgetter(*labels) if labels else lambda _: ()
        self._by_labels, self._all = {}, {}
        self._surplus = self._series(self, is_kept=False)
        if not labels:
            self._by_labels[()] = self._all[()] = self._series(self, is_kept=True)

    def labels(self, /, **labels: LabelValue) -> Series:
        """The series with these values. A policy that counts often keeps it, to save the look-up of the labels."""
        if len(labels) == len(self.label_names):
            try:
                return self._by_labels[self._pick(labels)]
            except (KeyError, TypeError):
                pass
        return self._find(labels)

    def _find(self, labels: Mapping[str, object]) -> Series:
        try:
            values = self._checked(labels)
        except MetricError as error:
            self._refuse(str(error), "labels")
            return self._surplus
        with self.lock:
            series = self._all.get(values)
            if series is None:
                if len(self._all) >= self.max_label_sets:
                    return self._surplus
                series = self._all[values] = self._series(self, is_kept=True)
            if all(type(labels[name]) is str for name in self.label_names):
                self._by_labels[self._pick(labels)] = series
            return series

    def _checked(self, labels: Mapping[str, object]) -> tuple[str, ...]:
        if labels.keys() != set(self.label_names):
            wanted = ", ".join(self.label_names) or "none"
            raise MetricError(f"{self.name}: expected the labels {wanted}, got {', '.join(labels) or 'none'}")
        return tuple(self._text(name, labels[name]) for name in self.label_names)

    def _text(self, name: str, value: object) -> str:
        if not isinstance(value, str | int):
            raise MetricError(f"{self.name}: {name}: expected text or a whole number, got {type(value).__name__}")
        text = str(value)
        if len(text) > MAX_VALUE:
            raise MetricError(f"{self.name}: {name}: expected at most {MAX_VALUE} characters, got {len(text)}")
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                raise MetricError(f"{self.name}: {name}: expected text in Unicode, got {text!r}") from None
        return text

    def refuse_amount(self, expected: str, amount: object, below: float) -> None:
        """Called by a series: drops an observation that is invalid, or that a full metric has no room for."""
        if below > 0:
            self._refuse(f"{self.name}: expected {expected}, got {amount!r:.80}", "amount")
            return
        with self.lock:
            self.refused += 1
            self.changed = True
        kept = len(self._all)
        if kept >= self.max_label_sets:
            full = f"metric {self.name} has {kept} sets of label values, and drops all others"
            cure = "leave out a label that has a value of its own for each client, path or request"
            self._log_once("sets", f"{full}: {cure}")

    def _refuse(self, message: str, reason: str) -> None:
        if not registry.is_serving:
            raise MetricError(message)
        if reason != "labels":  # for labels, refuse_amount counts the observation on _surplus
            with self.lock:
                self.refused += 1
                self.changed = True
        self._log_once(reason, f"an observation is dropped: {message}")

    def _log_once(self, reason: str, message: str) -> None:
        if reason not in self._logged:
            self._logged.add(reason)
            log.warning("%s", message)

    def _read(self, labels: Mapping[str, object]) -> Series | None:
        return self._all.get(self._checked(labels))

    def snapshot(self, policy: str) -> MetricSnapshot:
        """The metric's present values."""
        with self.lock:
            samples = [
                Sample(values, series.amount, tuple(series.buckets) if isinstance(series, HistogramSeries) else ())
                for values, series in self._all.items()
            ]
            return MetricSnapshot(
                policy, self.name, self.documentation, self.kind, self.label_names, self.bounds, samples, self.refused
            )

    def reset(self) -> None:
        """Sets all series to 0. For tests."""
        with self.lock:
            self.changed, self.refused = True, 0
            self._logged.clear()
            for series in self._all.values():
                series.amount = 0.0
                if isinstance(series, HistogramSeries):
                    series.buckets = [0] * len(series.buckets)


class Counter(_Metric[CounterSeries]):
    """Counts events. Its name ends with `_total`.

    labels: names of labels. max_label_sets: the most sets of label values that are counted; observations with further
    sets are refused.
    """

    kind = "counter"
    _series = CounterSeries

    def __new__(
        cls, name: str, documentation: str, labels: Sequence[str] = (), *, max_label_sets: int = MAX_LABEL_SETS
    ) -> Self:
        return super().__new__(cls, name, documentation, labels, (), max_label_sets)

    def inc(self, amount: float = 1.0, /, **labels: LabelValue) -> None:
        """Adds an amount, 0 or more, for these labels."""
        self.labels(**labels).inc(amount)

    def value(self, /, **labels: LabelValue) -> float:
        """The count for these labels in this process; 0 if nothing was counted. For tests."""
        series = self._read(labels)
        return series.amount if series is not None else 0.0


class Gauge(_Metric[GaugeSeries]):
    """How much there is of something. The values of several processes are added.

    labels, max_label_sets: as for a Counter.
    """

    kind = "gauge"
    _series = GaugeSeries

    def __new__(
        cls, name: str, documentation: str, labels: Sequence[str] = (), *, max_label_sets: int = MAX_LABEL_SETS
    ) -> Self:
        return super().__new__(cls, name, documentation, labels, (), max_label_sets)

    def set(self, value: float, /, **labels: LabelValue) -> None:
        """Sets the value for these labels."""
        self.labels(**labels).set(value)

    def inc(self, amount: float = 1.0, /, **labels: LabelValue) -> None:
        """Adds an amount for these labels."""
        self.labels(**labels).inc(amount)

    def dec(self, amount: float = 1.0, /, **labels: LabelValue) -> None:
        """Subtracts an amount for these labels."""
        self.labels(**labels).dec(amount)

    def value(self, /, **labels: LabelValue) -> float:
        """The value for these labels in this process; 0 if it was never set. For tests."""
        series = self._read(labels)
        return series.amount if series is not None else 0.0


class Histogram(_Metric[HistogramSeries]):
    """The distribution of values: how many are at most as large as each bound of `buckets`, and their sum.

    buckets: upper bounds in rising order, in the unit of the values, without +Inf. The default is for seconds.
    labels, max_label_sets: as for a Counter.
    """

    kind = "histogram"
    _series = HistogramSeries

    def __new__(
        cls,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        *,
        buckets: Sequence[float] = DEFAULT_BUCKETS,
        max_label_sets: int = MAX_LABEL_SETS,
    ) -> Self:
        return super().__new__(cls, name, documentation, labels, buckets, max_label_sets)

    def observe(self, value: float, /, **labels: LabelValue) -> None:
        """Counts a value for these labels, in base units: seconds or bytes."""
        self.labels(**labels).observe(value)

    def time(self, /, **labels: LabelValue) -> Timer:
        """Observes the seconds that a `with` statement takes, waiting included, also if its body raises."""
        return Timer(self.labels(**labels))

    def count(self, /, **labels: LabelValue) -> int:
        """How many values were observed for these labels in this process. For tests."""
        series = self._read(labels)
        return sum(series.buckets) if series is not None else 0

    def sum(self, /, **labels: LabelValue) -> float:
        """The sum of these values. For tests."""
        series = self._read(labels)
        return series.amount if series is not None else 0.0


# ------------------------------------------------------------------ for the code that runs policies


@dataclass(frozen=True, slots=True)
class Sample:
    """The value of one series. labels: the values, in the order of the metric's label names."""

    label_values: tuple[str, ...]
    value: float  # of a histogram: the sum
    buckets: tuple[int, ...]  # of a histogram: not cumulative; the last one is above all bounds


@dataclass(frozen=True, slots=True)
class MetricSnapshot:
    """A metric's definition and its values at one time."""

    policy: str
    name: str
    documentation: str
    kind: Kind
    label_names: tuple[str, ...]
    bounds: tuple[float, ...]
    samples: list[Sample]
    refused: int


M = TypeVar("M", bound=_Metric[Any])


class Registry:
    """The metrics of all policies of a process, by policy and name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._metrics: dict[tuple[str, str], _Metric[Any]] = {}
        self._policy: Callable[[], str] | None = None  # the policy whose code runs in this thread
        self._version = 0

    @property
    def is_serving(self) -> bool:
        """Whether this is a gateway, where an invalid observation raises nothing."""
        return self._policy is not None

    def serve(self, policy: Callable[[], str]) -> None:
        """From now on this is a gateway. policy: returns the policy whose code is running, "name:version", or ""."""
        self._policy = policy

    def add(
        self, kind: type[M], name: str, documentation: str, labels: Sequence[str], buckets: Sequence[float],
        max_label_sets: int,
    ) -> M:  # fmt: skip
        """Returns the metric of the policy whose code is running, made now if there is none."""
        bounds = check_definition(kind.kind, name, documentation, labels, buckets, max_label_sets)
        policy = self._owner(name)
        with self._lock:
            if (there := self._metrics.get((policy, name))) is not None:
                if type(there) is not kind or not _is_same(there, labels, bounds):
                    raise MetricError(
                        f"{name}: expected the metric as it was first made, a {_described(there)}; got a different "
                        f"{kind.kind} with the labels {', '.join(labels) or 'none'}: give it another name"
                    )
                return there
            if sum(owner == policy for owner, _ in self._metrics) >= MAX_METRICS:
                raise MetricError(f"{name}: expected at most {MAX_METRICS} metrics of one policy; use labels")
            metric: M = object.__new__(kind)
            metric._define(name, documentation, labels, bounds, max_label_sets)
            self._metrics[policy, name] = metric
            return metric

    def collect(self, since: int = 0) -> tuple[int, list[MetricSnapshot]]:
        """The present version, and the metrics that have changed since version `since`; 0: all."""
        with self._lock:
            all_metrics = list(self._metrics.items())
            changed = [metric for _, metric in all_metrics if metric.changed]
            if changed:
                self._version += 1
            for metric in changed:
                metric.changed, metric.version = False, self._version
            version = self._version
        return version, [metric.snapshot(policy) for (policy, _), metric in all_metrics if metric.version > since]

    def of(self, policy: str) -> Iterator[_Metric[Any]]:
        """The metrics of one policy; without a gateway, those of a package."""
        with self._lock:
            metrics = [metric for (owner, _), metric in self._metrics.items() if _is_within(owner, policy)]
        return iter(metrics)

    def _owner(self, name: str) -> str:
        if self._policy is None:
            return _calling_package()
        if policy := self._policy():
            return policy
        raise MetricError(
            f"{name}: expected a metric to be made when the policy's module is imported, or in prepare, got it "
            "made elsewhere, for instance in a thread of the policy's own"
        )


registry = Registry()


def _is_within(owner: str, policy: str) -> bool:
    return owner == policy or owner.startswith(f"{policy}.")


def _calling_package() -> str:
    """The package of the code that makes a metric: the metric's owner where no gateway knows the policy."""
    depth = 1
    while (name := str(sys._getframe(depth).f_globals.get("__name__", ""))) == __name__:
        depth += 1
    return name.rpartition(".")[0] or name


def _is_same(there: _Metric[Any], labels: Sequence[str], bounds: tuple[float, ...]) -> bool:
    return there.label_names == tuple(labels) and there.bounds == bounds


def _described(metric: _Metric[Any]) -> str:
    buckets = f" and the buckets {', '.join(f'{bound:g}' for bound in metric.bounds)}" if metric.bounds else ""
    return f"{metric.kind} with the labels {', '.join(metric.label_names) or 'none'}{buckets}"
