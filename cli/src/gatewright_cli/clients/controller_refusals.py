"""The controller's refusals: its problem details (RFC 9457) as exceptions and sentences."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import msgspec
from gatewright_controller.management.problem_types import NO_DATABASE
from gatewright_documents.mistake import Mistake

from gatewright_cli.local_http import Answer
from gatewright_cli.mistakes import ExitStatus, PreflightError, exit_status_of

UNAUTHORIZED, FORBIDDEN, TOO_MANY = 401, 403, 429
UNAUTHORIZED_CURE = (
    "with --controller, name the file with the token in GATEWRIGHT_CONTROLLER_TOKEN_FILE; "
    "with a context, `gatewright context add NAME --replace` has --token-file"
)
FORBIDDEN_CURE = "`gatewright whoami` prints what you may do there"
CURES = {UNAUTHORIZED: UNAUTHORIZED_CURE, FORBIDDEN: FORBIDDEN_CURE}


class _ProblemError(msgspec.Struct):
    message: str
    field: str = ""
    line: int = 0


class _Problem(msgspec.Struct):
    type: str = ""
    detail: str = ""
    errors: list[_ProblemError] = []


class DeployError(Exception):
    """The controller, or a node, refused a change. The message says what, and has all reasons. status: what a command
    exits with for it.
    """

    def __init__(self, message: str, status: ExitStatus = ExitStatus.FAILED) -> None:
        super().__init__(message)
        self.status = status


class NoAnswerError(DeployError):
    """The controller does not answer, or cannot answer now: a retry may help."""

    def __init__(self, message: str, status: ExitStatus = ExitStatus.UNREACHABLE) -> None:
        super().__init__(message, status)

    @classmethod
    def of(cls, answer: Answer) -> NoAnswerError:
        """The error for an error answer."""
        return cls(refusal_text(answer), exit_status_of(answer.status_code))


class NoDatabaseError(NoAnswerError):
    """The controller cannot open its database, and retries by itself. The message has the reason and the cure."""


class RefusedError(DeployError):
    """The controller refused a request; the message says why. mistakes: each reason, where the controller gave them."""

    def __init__(
        self, message: str, status: ExitStatus = ExitStatus.FAILED, mistakes: tuple[Mistake, ...] = ()
    ) -> None:
        super().__init__(message, status)
        self.mistakes = mistakes

    @classmethod
    def of(cls, answer: Answer) -> RefusedError:
        """The error for an error answer."""
        mistakes = read_mistakes(answer)
        return cls("; ".join(_sentences(mistakes)), exit_status_of(answer.status_code), mistakes)


class InvalidError(DeployError):
    """The controller refuses a definition. A retry does not help."""

    def __init__(self, mistakes: tuple[Mistake, ...], status: ExitStatus = ExitStatus.FAILED) -> None:
        super().__init__("; ".join(_sentences(mistakes)), status)
        self.mistakes = mistakes


def preflight_error(error: DeployError) -> PreflightError:
    """The error as one that `main` prints, with its exit status."""
    return PreflightError([str(error)], error.status)


def raise_without_database(answer: Answer) -> None:
    """Raises NoDatabaseError if the controller answers that it has no database yet."""
    if answer.status_code != 503:
        return
    with contextlib.suppress(msgspec.DecodeError):
        problem = msgspec.json.decode(answer.content, type=_Problem)
        if problem.type == NO_DATABASE:
            raise NoDatabaseError(problem.detail)


def read_mistakes(answer: Answer) -> tuple[Mistake, ...]:
    """The mistakes that an error answer names; one with its status and detail if it names none. The cures for missing
    rights are the command line's own.
    """
    try:
        problem = msgspec.json.decode(answer.content, type=_Problem)
    except msgspec.DecodeError:
        return (Mistake("", f"{answer.status_code} {answer.text[:500]}"),)
    mistakes = tuple(Mistake(error.field, error.message, error.line) for error in problem.errors)
    return mistakes or (Mistake("", f"{answer.status_code} {problem.detail}{_cure(answer)}"),)


def _cure(answer: Answer) -> str:
    """Behind a refusal; "" where none is known."""
    if answer.status_code == TOO_MANY and (seconds := answer.headers.get("retry-after")):
        return f" (Retry-After: {seconds} s)"
    return f"; {CURES[answer.status_code]}" if answer.status_code in CURES else ""


def refusal_text(answer: Answer, separator: str = "; ") -> str:
    """A sentence for each mistake of an error answer."""
    return separator.join(_sentences(read_mistakes(answer)))


def _sentences(mistakes: Iterable[Mistake]) -> list[str]:
    return [f"line {mistake.line}: {mistake}" if mistake.line else str(mistake) for mistake in mistakes]
