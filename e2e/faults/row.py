"""A row: one fault, its allowed cost, and the run that measures it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from e2e.faults.contract import Contract, Fault, Verdict, judge
from e2e.faults.environment import LoadedEnvironment, Setting, loaded_environment
from e2e.kit.load import pause
from e2e.kit.places import ROOT

LOGS = ROOT / "build" / "fault-logs"
NO_VIOLATIONS: Callable[[LoadedEnvironment], list[str]] = lambda _: []  # noqa: E731 — a default, typed
CAN_RUN: Callable[[], str | None] = lambda: None  # noqa: E731


@dataclass(frozen=True)
class Row:
    """inject: breaks something, and returns when the fault is lifted.

    extra_seconds: seconds of load beyond the time that the contract allows for recovery.
    check: what else was not as specified, looked for after the fault; in sentences.
    skip_reason: why the row cannot run on this machine; None where it can.
    """

    name: str
    inject: Callable[[LoadedEnvironment], Fault]
    contract: Contract = field(default_factory=Contract)
    setting: Setting = field(default_factory=Setting)
    extra_seconds: float = 1.5
    check: Callable[[LoadedEnvironment], list[str]] = NO_VIOLATIONS
    skip_reason: Callable[[], str | None] = CAN_RUN

    def run(self, tool: Path, build: Path) -> Verdict:
        with loaded_environment(tool, build, self.setting) as environment:
            fault = self.inject(environment)
            pause(self.contract.recovery + self.extra_seconds)
            violations = self.check(environment)
            flows = {*self.contract.always, *(flow.name for flow in environment.load.flows)}
            verdict = judge(environment.answers(), fault, self.contract, violations, flows)
            return verdict if verdict.kept else self._with_log(verdict, environment)

    def _with_log(self, verdict: Verdict, environment: LoadedEnvironment) -> Verdict:
        """What broke a contract once may not do so again: the gateway's log is kept, and the verdict says where."""
        LOGS.mkdir(parents=True, exist_ok=True)
        file = LOGS / f"{self.name.replace('/', ' of ')}.log"
        file.write_text("".join(f"{line}\n" for line in environment.gateway.log), encoding="utf-8")
        violations = [*verdict.violations, f"the gateway's log is in {file.relative_to(ROOT)}"]
        return replace(verdict, violations=violations)
