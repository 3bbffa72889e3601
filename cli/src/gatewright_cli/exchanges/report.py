"""One exchange explained: what answered and why; time, changes and failure of each policy."""

from __future__ import annotations

from collections.abc import Iterator

from gatewright_cli.exchanges import differences, timeline
from gatewright_cli.exchanges.line import duration
from gatewright_cli.exchanges.paint import Paint, fold_value, safe, wrap_words
from gatewright_cli.exchanges.recorded import Cause, Change, Exchange, Execution, Failure
from gatewright_cli.exchanges.source_lines import NO_SOURCES, Sources
from gatewright_cli.exchanges.verdict import comparison, verdict

LABEL_WIDTH = 10
PARTIES = {"client": "the client's", "upstream": "the upstream's", "gateway": "the gateway's"}


def report(exchange: Exchange, paint: Paint, sources: Sources = NO_SOURCES) -> list[str]:
    """The lines of the report."""
    return list(_report(exchange, paint, sources))


def _report(exchange: Exchange, paint: Paint, sources: Sources) -> Iterator[str]:
    sentence = f"{exchange.request.method} {exchange.target}: {verdict(exchange)}; {duration(exchange.duration_ms)}"
    yield from (paint.bold(line) for line in wrap_words(safe(sentence), paint.width))
    yield ""
    for label, text in _facts(exchange):
        first, *rest = wrap_words(safe(text), paint.width - LABEL_WIDTH - 2)
        yield f"{paint.dim(label.ljust(LABEL_WIDTH))}  {first}"
        yield from (" " * (LABEL_WIDTH + 2) + line for line in rest)
    yield ""
    if not exchange.executions:
        yield "No policy ran."
        return
    yield from timeline.table(exchange, paint)
    for execution in exchange.executions:
        if (
            execution.changes
            or execution.failure
            or execution.stream
            or execution.reason
            or execution.when
            or _differs(execution)
        ):
            yield ""
            yield from _execution(exchange, execution, paint, sources)


def _differs(execution: Execution) -> bool:
    return execution.comparison == "different"


def _facts(exchange: Exchange) -> Iterator[tuple[str, str]]:
    yield "request id", exchange.id
    yield "API", _place(exchange)
    if exchange.cause:
        yield from _fault(exchange.cause)
    yield "node", exchange.node
    if exchange.client.address:
        yield "client", exchange.client.address
    yield "began", exchange.started_at
    ran = {execution.policy for execution in exchange.executions}
    if idle := [policy for policy in exchange.policies if policy not in ran]:
        yield "not run", ", ".join(idle)
    if exchange.trace_id:
        yield "trace", exchange.trace_id
    if exchange.details:
        yield "details", exchange.details
    if exchange.error:
        yield "error", exchange.error
    if exchange.redacted:
        yield "redacted", f"{exchange.redacted} value{'' if exchange.redacted == 1 else 's'}"


def _fault(cause: Cause) -> Iterator[tuple[str, str]]:
    flags = f" ({cause.flags})" if cause.flags else ""
    yield "fault", f"{PARTIES.get(cause.party, cause.party)}: {cause.code}{flags}"
    if cause.cure:
        yield "cure", cause.cure


def _place(exchange: Exchange) -> str:
    """API, operation and chain, as far as the exchange has them."""
    if not exchange.api:
        return "none"
    parts = [f"{exchange.api} {exchange.api_version}".rstrip()]
    if exchange.operation:
        parts.append(f"operation {exchange.operation}")
    parts.append(f"chain {exchange.chain}" if exchange.chain else "without policies")
    return ", ".join(parts)


def _execution(exchange: Exchange, execution: Execution, paint: Paint, sources: Sources) -> Iterator[str]:
    shadow = ", shadow: not applied" if execution.shadow else ""
    compared = "; ".join(filter(None, [shadow, comparison(exchange, execution)]))
    heading = f"{execution.policy}, {execution.phase.replace('_', ' ')}: {execution.outcome}{compared}"
    yield from (paint.bold(line) for line in wrap_words(safe(heading), paint.width))
    if execution.reason:
        yield from (f"  {line}" for line in wrap_words(safe(execution.reason), paint.width - 2))
    if execution.when:
        yield from (f"  {line}" for line in fold_value(safe(f"did not apply: when {execution.when}"), paint.width - 2))
    if execution.failure:
        yield from _failure(execution.policy, execution.failure, paint, sources)
    if execution.stream:
        yield f"  {execution.stream.bytes_in} bytes in, {execution.stream.bytes_out} bytes out"
    for change in execution.changes:
        yield from change_lines(change, paint)


def change_lines(change: Change, paint: Paint) -> Iterator[str]:
    """What has changed, and how, as a patch shows it."""
    yield from (f"  {line}" for line in fold_value(safe(differences.heading(change)), paint.width - 2))
    for line in differences.lines(change):
        yield from _difference(line, paint)


def _difference(line: str, paint: Paint) -> Iterator[str]:
    style = {"-": paint.red, "+": paint.green}.get(line[:1], paint.dim)
    sign, text = line[:1], safe(line[2:])
    first, *rest = fold_value(text, paint.width - 6)
    yield style(f"    {sign} {first}".rstrip())
    yield from (style(f"      {more}") for more in rest)


def _failure(policy: str, failure: Failure, paint: Paint, sources: Sources) -> Iterator[str]:
    kind, *more = [safe(line) for line in f"{failure.kind}: {failure.message}".splitlines()]
    for text in (kind, *more):
        yield from (f"  {paint.red(line)}" for line in wrap_words(text, paint.width - 2))
    if not failure.file:
        return
    yield f"  {safe(failure.file)}:{failure.line}"
    for number, text in sources.around(policy, failure.file, failure.line):
        mark = ">" if number == failure.line else " "
        shown = f"  {mark} {number:>4}  {safe(text.expandtabs(4))}".rstrip()
        yield paint.bold(shown) if mark == ">" else paint.dim(shown)
