"""The mistakes that an operator has to correct, all at once. Any room but supervision may raise them; `main` prints."""

from __future__ import annotations


class PreflightError(Exception):
    """Raised before anything was changed; `mistakes` has one sentence for each: expected, got, where, the cure."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


def refuse(mistakes: list[str]) -> None:
    """Raises PreflightError if there are any."""
    if mistakes:
        raise PreflightError(mistakes)
