"""What became of an exchange, and because of whom, in words."""

from __future__ import annotations

from collections.abc import Iterator

from gatewright_cli.exchanges.recorded import ANSWERED, CONTINUED, FAILED, Exchange, Execution

SAID = {FAILED: "failed", CONTINUED: "failed and was passed over", ANSWERED: "answered"}

ANSWERERS = {"proxy": "Envoy", "gateway": "the gateway"}


def notes(exchange: Exchange) -> list[str]:
    """In a few words each, once: the policies that failed or answered, and what else is out of the ordinary."""
    return list(dict.fromkeys(_notes(exchange)))


def _notes(exchange: Exchange) -> Iterator[str]:
    for execution in exchange.executions:
        said = SAID.get(execution.outcome)
        if execution.shadow:
            yield from _shadow_notes(execution)
        elif said:
            kind = f": {execution.failure.kind}" if execution.failure else ""
            yield f"{execution.policy} {said}{kind}"
    if who := ANSWERERS.get(exchange.answered_by):
        yield f"{who} answered: {exchange.details}" if exchange.details else f"{who} answered"
    if exchange.outcome == "cancelled":
        yield "the client went away"
    elif exchange.outcome == "failed":
        yield f"failed: {exchange.error}" if exchange.error else "failed"


def _shadow_notes(execution: Execution) -> Iterator[str]:
    if execution.comparison == "different":
        yield f"{execution.policy} in shadow: different"
    elif execution.outcome == FAILED:
        kind = f": {execution.failure.kind}" if execution.failure else ""
        yield f"{execution.policy} in shadow: failed{kind}"


def verdict(exchange: Exchange) -> str:
    """One sentence: who answered what, and why."""
    if exchange.response is None:
        return _unanswered(exchange)
    return f"answered {exchange.response.status} by {_by(exchange)}"


def _unanswered(exchange: Exchange) -> str:
    reason = f": {exchange.error}" if exchange.error else ""
    if exchange.outcome == "completed":
        return "passed on; no policy looks at the response, so that the engine is not shown it"
    if exchange.outcome == "cancelled":
        return f"not answered, for the client went away{reason}"
    return f"not answered{reason}"


def _by(exchange: Exchange) -> str:
    match exchange.answered_by:
        case "policy":
            execution = last_with(exchange, ANSWERED)
            return f"{execution.policy} in its {_phase(execution)} phase" if execution else "a policy"
        case "failure":
            execution = last_with(exchange, FAILED)
            return _failing(execution) if execution else f"the gateway ({exchange.details})"
        case "proxy":
            return f"Envoy ({exchange.details})" if exchange.details else "Envoy"
        case "gateway":
            return f"the gateway ({exchange.details})"
        case "upstream":
            return "the upstream"
    return exchange.answered_by or "nobody that is known"


def _failing(execution: Execution) -> str:
    failure = execution.failure
    said = f": {failure.kind}: {failure.message}" if failure else ""
    return f"the gateway, for {execution.policy} failed in its {_phase(execution)} phase{said}"


def _phase(execution: Execution) -> str:
    return execution.phase.replace("_", " ")


def last_with(exchange: Exchange, outcome: str) -> Execution | None:
    """The last execution that came out like this and counted."""
    found = [one for one in exchange.executions if one.outcome == outcome and not one.shadow]
    return found[-1] if found else None
