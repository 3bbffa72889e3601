"""What the operator has to change, said all at once. `main` prints it; any room but supervision may raise it."""

from __future__ import annotations


class PreflightError(Exception):
    """Found before anything was changed; `mistakes` has one sentence for each: expected, got, where, the cure."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


def refuse(mistakes: list[str]) -> None:
    """Raises PreflightError where there are any."""
    if mistakes:
        raise PreflightError(mistakes)
