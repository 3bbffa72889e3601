"""What the checks of an exchange have found: counted in metrics, and kept in the exchange's metadata. No finding has a
part of a text in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sdk.masking import MaskedText, Masking
from sdk.metrics import Counter
from sdk.policy import Metadata

from .rules import Action, Direction, Rule

NOTE = "prompt-guard"
"""The key of the exchange's metadata."""
FINDINGS = Counter(
    "prompt_guard_findings_total", "What the checks found.", ["api", "direction", "check", "rule", "action"]
)
EXCHANGES = Counter("prompt_guard_requests_total", "Requests, by what became of them.", ["api", "verdict"])
ORDER = ("pass", "log", "redact", "block")
MAX_FINDINGS = 64
"""The most findings of an exchange in its metadata."""
MAX_HELD = 4096
"""The most characters that are held back beyond the longest match: invisible ones within a text."""


class BlockedError(Exception):
    """A check has found something for which the exchange is to end."""

    def __init__(self, check: str, rule: str) -> None:
        super().__init__(f"{check}: {rule}")
        self.check, self.rule = check, rule


class Verdicts:
    """The findings of one exchange in one direction. It adds to those that its metadata has."""

    def __init__(self, metadata: Metadata, api: str, direction: Direction) -> None:
        self._metadata, self._api, self._direction = metadata, api, direction
        note: Any = metadata.get(NOTE) or {}
        self.note: dict[str, Any] = {**note}
        self._findings: list[dict[str, Any]] = [dict(finding) for finding in note.get("findings", ())]
        self.verdict: str = "pass"

    def add(self, check: str, rule: str, action: Action, **more: Any) -> None:
        FINDINGS.inc(api=self._api, direction=self._direction, check=check, rule=rule, action=action)
        self.verdict = max(self.verdict, str(action), key=ORDER.index)
        finding = {"check": check, "rule": rule, "direction": self._direction, "action": action, **more}
        if finding not in self._findings and len(self._findings) < MAX_FINDINGS:
            self._findings.append(finding)

    @property
    def reason(self) -> str:
        """The first finding that blocks, in words."""
        blocking = next(finding for finding in self._findings if finding["action"] == "block")
        if blocking["check"] == "size":
            return f"it has {blocking['size']} {blocking['rule']}, of which it may have {blocking['limit']}"
        return f"{blocking['rule']} of {blocking['check']}"

    def keep(self) -> None:
        """Writes the findings into the exchange's metadata."""
        verdict = max(self.verdict, self.note.get("verdict", "pass"), key=ORDER.index)
        self._metadata[NOTE] = {**self.note, "verdict": verdict, "findings": self._findings}

    def count(self) -> None:
        EXCHANGES.inc(api=self._api, verdict=self.verdict)

    def analytics(self) -> Mapping[str, Any]:
        """For the access log: the findings of the request."""
        return {"prompt_guard": {"verdict": self.verdict, "findings": self._findings}} if self._findings else {}


class GuardedText:
    """A text of an answer that comes in pieces: what acting rules let through of it, which are those that block or
    redact; rules that log only see it and hold nothing back."""

    def __init__(self, acting: Masking | None, observing: Masking | None, verdicts: Verdicts) -> None:
        self._acting = None if acting is None else MaskedText(acting)
        self._observing_by, self._verdicts = observing, verdicts
        self._observing = None if observing is None else MaskedText(observing)
        self._limit = MAX_HELD + (0 if acting is None else acting.longest)

    def feed(self, piece: str, /) -> str:
        if self._observing is not None and self._observing_by is not None:
            self._observing.feed(piece)
            if self._observing.held > MAX_HELD + self._observing_by.longest:
                self._observing = MaskedText(self._observing_by)
        if self._acting is None:
            return piece
        passed = self._acting.feed(piece)
        if self._acting.held > self._limit:
            self._verdicts.add("text", "invisible", "block")
            raise BlockedError("text", "invisible")
        return passed

    def end(self) -> str:
        if self._observing is not None:
            self._observing.end()
        return "" if self._acting is None else self._acting.end()


def maskings(
    rules: Iterable[tuple[str, Rule]], verdicts: Verdicts, replacement: str
) -> tuple[Masking | None, Masking | None]:
    """The acting masking and the observing one of rules, each with the check that it belongs to; None without rules."""
    acting = {rule.name: (check, rule) for check, rule in rules if rule.action != "log"}
    observing = {rule.name: (check, rule) for check, rule in rules if rule.action == "log"}

    def masking(chosen: Mapping[str, tuple[str, Rule]]) -> Masking | None:
        if not chosen:
            return None

        def count(name: str) -> None:
            check, rule = chosen[name]
            verdicts.add(check, name, rule.action)

        def replace(check: str, rule: Rule, value: str) -> str:
            if rule.action == "block":
                raise BlockedError(check, rule.name)
            return replacement if rule.action == "redact" else value

        replacements = {
            name: (lambda value, check=check, rule=rule: replace(check, rule, value))
            for name, (check, rule) in chosen.items()
        }
        return Masking([rule for _, rule in chosen.values()], replacements, count)

    return masking(acting), masking(observing)
