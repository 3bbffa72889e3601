"""What happened to an exchange and why, in the sentences of the Inspector's sentences.json."""

from __future__ import annotations

import json
import re
from importlib import resources

from gatewright_cli.exchanges.recorded import ANSWERED, FAILED, Exchange, Execution, Failure

TABLE = resources.files("gatewright_controller") / "inspector/static/lib/exchange/sentences.json"
SENTENCES: dict[str, dict[str, list[str]]] = json.loads(TABLE.read_bytes())
NAME = re.compile(r"\{(\w+)\}")
CAUSES = {"policy": ANSWERED, "failure": FAILED}


def verdict(exchange: Exchange) -> str:
    """One sentence: what answered, with which status, and why."""
    if exchange.response is None:
        return _sentence("unanswered", exchange.outcome, error=exchange.error)
    cause = last_with(exchange, CAUSES.get(exchange.answered_by, ""))
    facts = _facts(cause) if cause else {}
    facts |= {"status": str(exchange.response.status), "answeredBy": exchange.answered_by, "details": exchange.details}
    return _sentence("answered", exchange.answered_by, reason=_reason(exchange), **facts)


def notes(exchange: Exchange) -> list[str]:
    """A few words for each policy that failed or answered, and for anything else unusual, without repetition."""
    texts = [_note(execution) for execution in exchange.executions]
    answered_by, details = exchange.answered_by, exchange.details
    texts.append(_sentence("answerers", answered_by, details=details, reason=_reason(exchange)))
    texts.append(_sentence("outcomes", exchange.outcome, error=exchange.error))
    return [note for note in dict.fromkeys(texts) if note]


def _reason(exchange: Exchange) -> str:
    return exchange.cause.reason if exchange.cause else ""


def comparison(exchange: Exchange, execution: Execution) -> str:
    """The result of a shadow attachment, compared with the policy that it shadows."""
    at = execution.compared_with
    other = exchange.policies[at] if at is not None and at < len(exchange.policies) else ""
    return _sentence("comparisons", execution.comparison, policy=other)


def last_with(exchange: Exchange, outcome: str) -> Execution | None:
    """The last execution with this outcome that was no shadow."""
    matching = [execution for execution in exchange.executions if execution.outcome == outcome and not execution.shadow]
    return matching[-1] if matching else None


def _note(execution: Execution) -> str:
    if not execution.shadow:
        return _sentence("executions", execution.outcome, **_facts(execution))
    differs = execution.comparison == "different"
    return _sentence("shadows", execution.comparison if differs else execution.outcome, **_facts(execution))


def _facts(execution: Execution) -> dict[str, str]:
    failure = execution.failure or Failure()
    phase = execution.phase.replace("_", " ")
    return {"policy": execution.policy, "phase": phase, "class": failure.kind, "message": failure.message}


def _sentence(table: str, key: str, **facts: str) -> str:
    """The first of the table's sentences for `key` all of whose names are known; "" where there is none."""
    sentences = SENTENCES[table].get(key, SENTENCES[table].get("other", []))
    known = (text for text in sentences if all(facts.get(name) for name in NAME.findall(text)))
    return NAME.sub(lambda match: facts[match[1]], next(known, ""))
