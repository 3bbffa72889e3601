"""The allowed cost of a fault, and the verdict on a run. Plain values in, plain values out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from e2e.kit.answers import Answer

Outcomes = frozenset[str]
SERVED: Outcomes = frozenset({"200"})


@dataclass(frozen=True)
class Fault:
    """When it began and when it was lifted (or detected), in seconds since the epoch. A kill ends when it begins."""

    begin: float
    end: float


@dataclass(frozen=True)
class Contract:
    """The outcomes, besides 200, that are allowed.

    meanwhile: by flow, for requests under way between the fault's begin and `recovery` seconds after its end.
    always: by flow, for the requests that are themselves the fault; 200 is then allowed only if it is listed.
    afterwards: by flow, from the fault's begin on and for good (a gateway that stops does not come back).
    """

    recovery: float = 2.0
    meanwhile: Mapping[str, Outcomes] = field(default_factory=dict)
    always: Mapping[str, Outcomes] = field(default_factory=dict)
    afterwards: Mapping[str, Outcomes] = field(default_factory=dict)

    def allows(self, answer: Answer, fault: Fault) -> bool:
        if answer.flow in self.always:
            return answer.outcome in self.always[answer.flow]
        if answer.outcome in SERVED:
            return True
        if answer.ended < fault.begin:
            return False
        if answer.outcome in self.afterwards.get(answer.flow, ()):
            return True
        return answer.due <= fault.end + self.recovery and answer.outcome in self.meanwhile.get(answer.flow, ())


@dataclass(frozen=True)
class Verdict:
    """The verdict of a row. `outcomes` counts by flow and outcome; `failed` are the answers that break the contract."""

    sent: int
    failed: Sequence[Answer]
    outcomes: Mapping[tuple[str, str], int]
    recovery: float | None  # seconds from the fault's end to the last request that was not served; None: all were
    violations: Sequence[str] = ()  # what else was not as specified

    @property
    def kept(self) -> bool:
        return not self.failed and not self.violations


def judge(
    answers: Sequence[Answer],
    fault: Fault,
    contract: Contract,
    violations: Sequence[str] = (),
    flows: Collection[str] = (),
) -> Verdict:
    """A flow of `flows` without any answer is a violation: it would prove nothing."""
    silent = sorted({*flows} - {answer.flow for answer in answers})
    victims = [a for a in answers if a.flow not in contract.always]
    unserved = [
        a.due for a in victims if a.outcome not in SERVED and a.outcome not in contract.afterwards.get(a.flow, ())
    ]
    return Verdict(
        sent=len(answers),
        failed=[answer for answer in answers if not contract.allows(answer, fault)],
        outcomes=Counter((answer.flow, answer.outcome) for answer in answers),
        recovery=max(max(unserved) - fault.end, 0.0) if unserved else None,
        violations=[*violations, *(f"expected answers of the flow {flow}, got none" for flow in silent)],
    )
