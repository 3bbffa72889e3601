"""A row: one fault, what it may cost, and the run that finds out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from e2e.faults.contract import Contract, Fault, Verdict, judge
from e2e.faults.environment import Setting, Site, site
from e2e.faults.load import pause

NO_COMPLAINTS: Callable[[Site], list[str]] = lambda _: []  # noqa: E731 — a default, typed
CAN_RUN: Callable[[], str | None] = lambda: None  # noqa: E731


@dataclass(frozen=True)
class Row:
    """inject: breaks something, and returns when the fault is lifted.

    calm: seconds of load beyond the time that the contract allows for recovery.
    check: what else is to be said against the site after the fault, in sentences.
    obstacle: why the row cannot run on this machine; None where it can.
    """

    name: str
    inject: Callable[[Site], Fault]
    contract: Contract = field(default_factory=Contract)
    setting: Setting = field(default_factory=Setting)
    calm: float = 1.5
    check: Callable[[Site], list[str]] = NO_COMPLAINTS
    obstacle: Callable[[], str | None] = CAN_RUN

    def run(self, tool: Path, build: Path) -> Verdict:
        with site(tool, build, self.setting) as place:
            fault = self.inject(place)
            pause(self.contract.recovery + self.calm)
            complaints = self.check(place)
            flows = {*self.contract.always, *(flow.name for flow in place.load.flows)}
            return judge(place.answers(), fault, self.contract, complaints, flows)
