"""Two measurements of a row: streams at a fixed rate, and many streams that are open at once."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import cpu, load_tool, memory
from bench.error import BenchError
from bench.gateway import Build, gateway
from bench.llm.rows import ADDRESS, BEFORE, DIRECT, EXPECTED, GATEWRIGHT, LITELLM, api, question
from bench.load_tool import NO_PREEMPTION, ONE_CORE, Result
from bench.peers.litellm_proxy import litellm_proxy
from bench.processes import HOST, running, tail
from bench.sample import GENERATOR, UPSTREAM, Mark
from bench.settings import Settings
from bench.target import COLUMNS, Pids, Target

WARM_STREAMS, WARM_SECONDS = 20, 4.0
GRACE_SECONDS = 60.0
"""For answers after the end of a sample: the first ones of a fresh process take long on a busy machine."""
SETTLE_SECONDS = 5.0
OURS = (DIRECT, GATEWRIGHT)
"""The rows of which each answer must be right. Of a peer's, what is wrong is stated."""
WRONG_SHARE = 0.05
"""The most of a peer's answers in a sample that may be wrong: of more, something is wrong with how it was started."""


@dataclass(frozen=True)
class Plan:
    """rate: streams a second, each of `tokens` tokens that are `gap` seconds apart. held: streams that are open at
    once, which are opened in `opening` seconds, with a token each `held_gap` seconds."""

    rounds: int = 5
    warmup: float = 3.0
    duration: float = 10.0
    rate: float = 10.0
    tokens: int = 20
    gap: float = 0.02
    held: int = 1000
    opening: float = 50.0
    held_gap: float = 2.0
    held_duration: float = 10.0


@dataclass(frozen=True)
class Times:
    """event, token: from a request to the first event of its answer, and to the first text. whole: to its end. late:
    of each token, from provider to client. All in µs."""

    event: Result
    token: Result
    whole: Result
    late: Result


@dataclass(frozen=True)
class LlmSample:
    """One round of a row. cpu: CPU seconds of the measured span, by column. foreign: that of other processes, in
    cores. streams: those that were due in the span."""

    row: str
    round: int
    times: Times
    cpu: Mapping[str, float]
    streams: float
    foreign: float = 0.0

    @property
    def cpu_per_stream(self) -> float:
        """CPU of all processes of the row for a stream, in ms."""
        return sum(self.cpu.get(column, 0.0) for column in COLUMNS) / self.streams * 1000


@dataclass(frozen=True)
class Held:
    """Streams that are open at once. per_stream: bytes of RSS by column. cores: CPU of all processes of the row."""

    row: str
    times: Times
    per_stream: Mapping[str, float]
    cores: float


@dataclass(frozen=True)
class Site:
    """tool: the load tool. address, pid: of the provider."""

    tool: Path
    folder: Path
    address: str
    pid: int
    plan: Plan

    @contextlib.contextmanager
    def start(self, key: str, build: Build) -> Iterator[Target]:
        """Starts the row's processes."""
        folder = self.folder / key
        folder.mkdir(exist_ok=True)
        if key == DIRECT:
            yield Target(int(self.address.rpartition(":")[2]), dict, folder / "none.log")
            return
        if key == GATEWRIGHT:
            (folder / "apis").mkdir(exist_ok=True)
            (folder / "apis" / "llm.json").write_text(json.dumps(api(self.address)))
            started = gateway(Settings(), folder / "apis", folder, build=build)
        else:
            is_filtered = key == LITELLM
            path = LITELLM if is_filtered else DIRECT
            started = litellm_proxy(f"{self.address}/{path}", folder, filters=is_filtered)
        with started as target:
            yield target

    def sample(self, key: str, number: int, target: Target) -> LlmSample:
        """Streams at the plan's rate. BenchError on wrong answers."""
        plan = self.plan
        return self._sample(key, number, target, plan.rate, plan.warmup, plan.duration)

    def warm(self, key: str, target: Target) -> None:
        """A few streams, so that all code has run once."""
        self._sample(key, 0, target, WARM_STREAMS / WARM_SECONDS, 0.0, WARM_SECONDS)

    def _sample(self, key: str, number: int, target: Target, rate: float, warmup: float, duration: float) -> LlmSample:
        plan, span = self.plan, warmup + duration
        tokens = ["-tokens", str(plan.tokens), "-mark", EXPECTED[key].mark]
        command = [*self._command(key, target, plan.tokens), *tokens, "-streams", str(round(rate * span))]
        command += [
            "-open",
            f"{span}s",
            "-begin",
            f"{warmup}s",
            "-duration",
            f"{duration}s",
            "-grace",
            f"{GRACE_SECONDS}s",
        ]
        marks, pids = list[Mark](), target.processes()
        generators = list[int]()

        def mark(generator: int) -> None:
            generators.append(generator)
            marks.append(Mark.now())

        times = self._drive(key, target, command, span + GRACE_SECONDS, mark)
        if times.whole.failures > WRONG_SHARE * rate * span:
            raise error_of_answers(key, times, target)
        self._check_processes(key, target, pids)
        before, after = marks
        shown: Pids = {**pids, UPSTREAM: (self.pid,), GENERATOR: (generators[0],)}
        used = {
            column: sum(cpu.own(before.snapshot, after.snapshot, pid) for pid in numbers)
            for column, numbers in shown.items()
        }
        seconds = after.at - before.at
        others = cpu.foreign(before.snapshot, after.snapshot, os.getpid()) / seconds
        return LlmSample(key, number, times, used, rate * seconds, others)

    def hold(self, key: str, target: Target) -> Held:
        """Opens the plan's number of streams, and measures them while all are open."""
        self.warm(key, target)
        plan, before, pids = self.plan, resident(target.processes()), target.processes()
        begin = plan.opening + SETTLE_SECONDS
        tokens = round(2 * (begin + plan.held_duration) / plan.held_gap)
        command = [*self._command(key, target, tokens), "-hold", "-streams", str(plan.held)]
        command += ["-open", f"{plan.opening}s", "-begin", f"{begin}s", "-duration", f"{plan.held_duration}s"]
        marks, shots = list[Mark](), list[Mapping[str, int]]()

        def mark(_: int) -> None:
            shots.append(resident(target.processes()))
            marks.append(Mark.now())

        times = self._drive(key, target, command, begin + plan.held_duration, mark)
        self._check_processes(key, target, pids)
        if key in OURS and times.token.count != plan.held:
            raise BenchError(f"{key}: expected {plan.held} streams with a first token, got {times.token.count}")
        first, last = marks
        used = sum(cpu.own(first.snapshot, last.snapshot, pid) for numbers in pids.values() for pid in numbers)
        per_stream = {column: (shots[0][column] - before[column]) / plan.held for column in before}
        return Held(key, times, per_stream, used / (last.at - first.at))

    def _command(self, key: str, target: Target, tokens: int) -> list[str]:
        url = f"http://{HOST}:{target.port}{EXPECTED[key].path}"
        return [str(self.tool), "completions", "-url", url, "-text", question(tokens)]

    def _drive(self, key: str, target: Target, command: list[str], seconds: float, mark: load_tool.Marker) -> Times:
        times = parse_times(load_tool.drive_raw(command, seconds, self.folder, mark, mark))
        if key in OURS and times.whole.failures:
            raise error_of_answers(key, times, target)
        return times

    @staticmethod
    def _check_processes(key: str, target: Target, before: Pids) -> None:
        if (now := target.processes()) != before:
            raise BenchError(f"expected {key}'s processes to stay {before}, got {now}\n{tail(target.log)}")


def error_of_answers(key: str, times: Times, target: Target) -> BenchError:
    wrong = f"{key}: {times.whole.failures} wrong answers: {times.whole.first_failure}"
    return BenchError(f"{wrong}\n{tail(target.log)}" if target.log.exists() else wrong)


def parse_times(line: str) -> Times:
    """Parses the last line of `load completions`."""
    try:
        document = json.loads(line)
        parts = [json.dumps(document[name]) for name in ("event", "token", "whole", "late")]
    except (ValueError, KeyError, TypeError) as error:
        raise BenchError(f"the load generator: expected its result as JSON, got {line!r}") from error
    return Times(*map(load_tool.parse_result, parts))


def resident(pids: Pids) -> dict[str, int]:
    """The RSS in bytes, by column."""
    return {column: sum(map(memory.resident, numbers)) for column, numbers in pids.items()}


@contextlib.contextmanager
def provider(tool: Path, folder: Path, gap: float) -> Iterator[tuple[int, str]]:
    """A running provider: its pid and HOST:PORT. It refuses prompts with the address that did not come directly."""
    log = folder / "provider.log"
    command = [
        str(tool),
        "provider",
        "-every",
        f"{gap}s",
        "-before",
        BEFORE,
        "-hidden",
        ADDRESS,
        "-open",
        f"/{DIRECT}/",
    ]
    with running(command, log, ONE_CORE, scheduling=NO_PREEMPTION) as process:
        yield process.pid, load_tool.await_listening(process, log)


def turns(keys: Sequence[str], rounds: int) -> Iterator[tuple[int, str]]:
    """Round and row of each sample: every other round goes backwards."""
    for number in range(rounds):
        yield from ((number, key) for key in (keys if number % 2 else keys[::-1]))
