"""An exchange on one line, or on as few lines as the terminal's width allows."""

from __future__ import annotations

from gatewright_cli.exchanges.paint import NO_STATUS, UNBOUNDED, Paint, cut, safe
from gatewright_cli.exchanges.recorded import Exchange
from gatewright_cli.exchanges.verdict import notes

INDENT = " " * 14
TIME = slice(11, 23)
"""Of RFC 3339: hours to milliseconds."""


def line(exchange: Exchange, paint: Paint) -> str:
    """Time, status, duration and request; then API and operation, the policies that failed or answered, request id."""
    status = exchange.response.status if exchange.response else 0
    request = safe(f"{exchange.request.method} {exchange.target}")
    unseen = not status and exchange.outcome == "completed"  # the engine is not shown the response
    shown = paint.dim(NO_STATUS) if unseen else paint.status(status)
    head = f"{exchange.started_at[TIME]}  {shown}  {duration(exchange.duration_ms):>8}  "
    rest = [(safe(f"{exchange.api} {exchange.operation}"), paint.dim)]
    rest += [(safe(note), paint.red if "failed" in note else paint.yellow) for note in notes(exchange)]
    rest.append((safe(exchange.id), paint.dim))
    if paint.width == UNBOUNDED:
        return head + "  ".join([request, *(style(text) for text, style in rest)])
    lines, used = [head + cut(request, paint.width - HEAD_WIDTH)], HEAD_WIDTH + len(request)
    for text, style in rest:
        if used + 2 + len(text) <= paint.width:
            lines[-1] += f"  {style(text)}"
            used += 2 + len(text)
        else:
            lines.append(INDENT + style(cut(text, paint.width - len(INDENT))))
            used = len(INDENT) + len(text)
    return "\n".join(lines)


HEAD_WIDTH = len("00:00:00.000  000  00000 ms  ")


def duration(milliseconds: float) -> str:
    """0.123 ms, 1.23 ms, 12.3 ms, 123 ms, 1.23 s."""
    return f"{figure(milliseconds / 1000)} s" if milliseconds >= 999.5 else f"{figure(milliseconds)} ms"


def figure(value: float) -> str:
    """With three significant digits, or all digits before the point."""
    decimals = 3 if value < 0.9995 else 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{decimals}f}"
