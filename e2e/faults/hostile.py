"""A policy that tries whatever it must not reach, at each level of isolation, while the others' traffic goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from e2e.faults.contract import Contract, Fault, Verdict, judge
from e2e.faults.environment import LoadedEnvironment, Setting, loaded_environment, now
from e2e.hostile import level as levels
from e2e.hostile import node, page
from e2e.hostile.level import LEVELS, Level
from e2e.hostile.tries import TRIES, Subject, Try
from e2e.hostile.try_result import TryResult
from e2e.hostile.where import other_programs, where
from e2e.kit.gateway import Gateway, attach
from e2e.kit.load import pause

APIS = (
    ("hostile", attach("hostile", timeout="55s")),
    ("offline", attach("offline", timeout="10s")),
    ("neighbour", attach("neighbour")),
    ("key-check", attach("key-check")),
)
RATE = 100.0
OPTIONS = ("--executor-memory-limit", "512MiB")
TABLE = page.Page()
EXTRA_SECONDS = 1.0


@dataclass(frozen=True)
class Hostile:
    """A row of the suite (row.py): all tries at a level. `tries` in the order in which they run."""

    level: Level
    tries: Sequence[Try] = TRIES

    @property
    def name(self) -> str:
        return f"a hostile policy at isolation {self.level.name}"

    def skip_reason(self) -> str | None:
        return levels.skip_reason()

    def run(self, tool: Path, _: Path) -> Verdict:
        node.build()
        with node.node_folders(self.level) as folders, other_programs(folders) as others:

            @contextmanager
            def start(_: Path | None, __: Path, *options: str) -> Iterator[Gateway]:
                with node.run_node(self.level, folders, options) as gateway:
                    yield gateway

            setting = Setting(options=OPTIONS, apis=APIS, rate=RATE, start=start)
            with loaded_environment(tool, folders.build, setting) as environment:
                subject = Subject(environment.gateway, lambda: where(environment.gateway, folders, others))
                return self._judge(environment, subject)

    def _judge(self, environment: LoadedEnvironment, subject: Subject) -> Verdict:
        """The last try ends the gateway: the load ends before it."""
        start = now()
        results = {
            attempt: print_result(attempt, attempt.run(subject)) for attempt in self.tries if attempt is not TRIES[-1]
        }
        pause(EXTRA_SECONDS)
        answers = environment.answers()
        results |= {
            attempt: print_result(attempt, attempt.run(subject)) for attempt in self.tries if attempt is TRIES[-1]
        }
        violations = TABLE.compare(self.level, {attempt: result.cell for attempt, result in results.items()})
        flows = [flow.name for flow in environment.load.flows]
        return judge(answers, Fault(start, now()), Contract(), violations, flows)


def print_result(attempt: Try, result: TryResult) -> TryResult:
    """Prints the result at once, with the evidence."""
    print(f"  {attempt.name}: {result.cell}", flush=True)
    for target, proof in {**result.reached, **result.refused}.items():
        print(f"    {'+' if target in result.reached else '-'} {target}: {proof[:160]!r}", flush=True)
    return result


ROWS = [Hostile(level) for level in LEVELS]
