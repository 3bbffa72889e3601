"""The result of a try: the targets that it reached, and the text of its cell in the table."""

from __future__ import annotations

from dataclasses import dataclass, field

from e2e.kit.gateway import Json


@dataclass(frozen=True)
class TryResult:
    """target → proof, target → reason. The target "" is the only one."""

    reached: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, answer: Json) -> TryResult:
        return cls(answer["reached"], answer["refused"])

    def but(self, target: str, reason: str) -> TryResult:
        """The result with this target refused."""
        return TryResult({k: v for k, v in self.reached.items() if k != target}, {**self.refused, target: reason})

    @property
    def cell(self) -> str:
        """ "refused", "reached", or "reached: " and those that were."""
        if not self.reached:
            return "refused"
        return f"reached: {', '.join(self.reached)}" if self.refused else "reached"
