"""`python -m e2e.faults.soak`: a long run under load, of requests and of streams, with an API changed every second and
code reloaded every 10 s, and an executor killed every 45 s.

At the end no request may have failed but for those of Python policies when an executor was killed, and no process may
have grown, nor the number of the engine's goroutines. The
exit status is 1 otherwise. With GATEWRIGHT_ENGINE=in-envoy the engine's memory, threads and files are Envoy's.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bench import load_tool
from e2e.faults.changes import write
from e2e.faults.contract import Contract, Fault, judge
from e2e.faults.environment import GO_POLICY, MARK, PYTHON_POLICY, LoadedEnvironment, Setting, loaded_environment, now
from e2e.faults.kills import POLICY_ERRORS, kill
from e2e.faults.leak_check import Sample, find_growth, report
from e2e.faults.streams import RESET
from e2e.faults.table import Line, table
from e2e.kit.answers import Answer
from e2e.kit.gateway import api, attach
from e2e.kit.load import Flow, pause
from e2e.kit.processes import folders, resources_of
from e2e.kit.shared_build import build_output, is_engine_in_envoy

RATE = 100.0
CHANGE_SECONDS, RELOAD_SECONDS, SAMPLE_SECONDS = 1.0, 10.0, 10.0
KILL_SECONDS = 45.0
"""Three deaths within 30 s would put a policy under quarantine."""
KILLED = Contract(meanwhile={"python": POLICY_ERRORS, "stream": POLICY_ERRORS | RESET})
CHURNING = 8
STREAMS = Flow("stream", "/stream/x?events=20&every=100ms", 10.0)
"""Twenty are open at any time, and reloads come in their middle."""
SETTING = Setting(code=True, rate=RATE, apis=(("stream", attach("stream")),), flows=(STREAMS,))
WARMUP_SECONDS = 300.0
WARMUP_SHARE = 0.4  # of a run too short for that


def main() -> int:
    arguments = _parse()
    if os.geteuid() != 0:
        sys.exit("expected to be root: other processes of a gateway's user cannot count its open files")
    seconds = arguments.minutes * 60
    with tempfile.TemporaryDirectory(prefix="gatewright-soak-") as folder:
        tool, build = load_tool.build(Path(folder)), build_output()
        with loaded_environment(tool, build, SETTING) as environment:
            chance = random.Random(arguments.seed)  # noqa: S311 — which API changes is no secret
            samples, kills, violations = soak(environment, seconds, chance)
            verdict = judge(environment.answers(), Fault(now(), now()), Contract(recovery=0.0), violations)
            failed = [answer for answer in verdict.failed if not is_allowed(answer, kills)]
            verdict = replace(verdict, failed=failed, recovery=None)
    measured = [reading for reading in samples if reading.at >= min(WARMUP_SECONDS, WARMUP_SHARE * seconds)]
    growth = find_growth(measured)
    print(table([Line(f"soak, {arguments.minutes:g} min", verdict)]), report(measured), *growth, sep="\n\n")
    return 0 if verdict.kept and not growth else 1


def is_allowed(answer: Answer, kills: Sequence[Fault]) -> bool:
    """Whether an executor's end may have cost this answer."""
    return any(KILLED.allows(answer, executor_kill) for executor_kill in kills)


def soak(
    environment: LoadedEnvironment, seconds: float, chance: random.Random
) -> tuple[list[Sample], list[Fault], list[str]]:
    """The resources of the processes, the kills of executors, and the violations beside the load."""
    samples: list[Sample] = []
    kills: list[Fault] = []
    violations: list[str] = []
    start, deployed, reloads = time.monotonic(), set[str](), Reloads(environment)
    for at in ticks(start, seconds):
        violations += change(environment, deployed, chance)
        if at >= reloads.due:
            violations += reloads.again(at)
        elif at >= (len(kills) + 1) * KILL_SECONDS and not reloads.is_running:
            ready = environment.gateway.executors()[:1]  # none while one is replaced
            kills += [kill(environment, executor["name"]) for executor in ready]
        if at >= len(samples) * SAMPLE_SECONDS:
            samples.append(sample(environment, at))
    violations += reloads.finished()
    print(f"reloads: {reloads.count}, executors killed: {len(kills)}, samples: {len(samples)}", file=sys.stderr)
    return samples, kills, violations


def ticks(began: float, seconds: float) -> Iterator[float]:
    """Seconds since the beginning, one for each change."""
    while (at := time.monotonic() - began) < seconds:
        yield at
        pause(max(0.0, CHANGE_SECONDS - (time.monotonic() - began - at)))


def change(environment: LoadedEnvironment, deployed: set[str], chance: random.Random) -> list[str]:
    """Creates, replaces or deletes an API that the load does not ask."""
    name = f"churn-{chance.randrange(CHURNING)}"
    if name in deployed and chance.random() < 0.3:
        deployed.remove(name)
        with environment.gateway.controller() as client:
            answer = client.delete(f"/v1/apis/{name}")
        return [] if answer.is_success else [f"{name} could not be deleted: {answer.status_code} {answer.text}"]
    policies = [policy for policy in (GO_POLICY, PYTHON_POLICY) if chance.random() < 0.6]
    deployed.add(name)
    try:
        environment.gateway.deploy(api(name, f"{environment.upstream}/bare", policies))
    except AssertionError as error:
        return [f"{name} could not be deployed: {error}"]
    return []


class Reloads:
    """`gatewright reload`, again and again, beside all else."""

    def __init__(self, environment: LoadedEnvironment) -> None:
        self._environment = environment
        self._running: subprocess.Popen[str] | None = None
        self.count = 0
        self.due = RELOAD_SECONDS

    @property
    def is_running(self) -> bool:
        return self._running is not None and self._running.poll() is None

    def again(self, at: float) -> list[str]:
        """Begins the next one; what went wrong with the last one."""
        if self.is_running:
            return []
        violations = self.finished()
        self.due = at + RELOAD_SECONDS
        self.count += 1
        write(self._environment, MARK.format(word=f"word-{self.count}"))
        command = ["gatewright", "reload", "--run-dir", str(self._environment.gateway.run_dir)]
        self._running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        return violations

    def finished(self) -> list[str]:
        if self._running is None:
            return []
        _, output = self._running.communicate(timeout=120)
        return [] if self._running.returncode == 0 else [f"reload {self.count} was refused: {output}"]


def sample(environment: LoadedEnvironment, at: float) -> Sample:
    """The resources of each process; executors by their number, across restarts."""
    everyone = folders(environment.gateway) | {"supervisor": Path(f"/proc/{environment.gateway.process.pid}")}
    held_by_process = {name: resources_of(folder) for name, folder in everyone.items()}
    held_by = {name.partition(".")[0]: values for name, values in held_by_process.items() if values}
    if is_engine_in_envoy():
        held_by["engine"] = {}  # what it holds otherwise is Envoy's
    held_by["engine"] |= {"goroutines": json.loads(environment.gateway.admin("engine", "/stats"))["goroutines"]}
    return Sample(at, held_by)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m e2e.faults.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long (default: 30)")
    parser.add_argument("--seed", type=int, default=None, help="of the random changes")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
