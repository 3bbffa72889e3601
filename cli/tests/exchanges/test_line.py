from __future__ import annotations

import click
import pytest
from gatewright_cli.exchanges.line import duration, line
from gatewright_cli.exchanges.paint import Paint
from gatewright_cli.exchanges.recorded import Exchange

from cli.tests.exchanges.examples import ID, exchange, execution, failure

BEGINS = "17:10:51.123"
ASKED = "GET /orders/v1.0/7?x=1  orders GET /{id}"
FAILED = execution(0, "slow", "failed", failure=failure("timeout", "late"))
PASSED_OVER = execution(1, "frail", "continued", failure=failure("crashed", "gone"))
HEAD = f"{BEGINS}  200   12.3 ms  {ASKED}"
NO_STATUS_HEAD = HEAD.replace("200", "---")
LINES = [
    (exchange(execution(0, "first", "changed")), f"{HEAD}  {ID}"),
    (
        exchange(FAILED, status=504, answeredBy="failure"),
        f"{HEAD.replace('200', '504')}  slow:v1.0.0 failed: timeout  {ID}",
    ),
    (
        exchange(PASSED_OVER, execution(2, "gate", "answered"), status=403, answeredBy="policy"),
        f"{HEAD.replace('200', '403')}  frail:v1.0.0 failed: crashed (onError: continue)  gate:v1.0.0 answered  {ID}",
    ),
    (exchange({**FAILED, "shadow": True}), f"{HEAD}  slow:v1.0.0 in shadow: failed: timeout  {ID}"),
    (
        exchange(execution(0, "next", "answered", shadow=True, comparison="different")),
        f"{HEAD}  next:v1.0.0 in shadow: different  {ID}",
    ),
    (exchange(execution(0, "next", "changed", shadow=True, comparison="same")), f"{HEAD}  {ID}"),
    (exchange(execution(0, "next", "skipped", shadow=True, reason="no room")), f"{HEAD}  {ID}"),
    (
        exchange(status=503, answeredBy="proxy", details="no_healthy_upstream"),
        f"{HEAD.replace('200', '503')}  Envoy answered: no_healthy_upstream  {ID}",
    ),
    (exchange(response=None, answeredBy=""), f"{NO_STATUS_HEAD}  {ID}"),
    (
        exchange(status=431, answeredBy="gateway", details="headers_too_large"),
        f"{HEAD.replace('200', '431')}  the gateway answered: headers_too_large  {ID}",
    ),
    (exchange(response=None, outcome="cancelled"), f"{NO_STATUS_HEAD}  the client disconnected  {ID}"),
    (exchange(response=None, outcome="failed", error="no stream"), f"{NO_STATUS_HEAD}  failed: no stream  {ID}"),
]


@pytest.mark.parametrize(("found", "expected"), LINES)
def test_one_line_for_a_program(found: Exchange, expected: str) -> None:
    assert line(found, Paint()) == expected


def test_a_terminal_gets_as_many_lines_as_its_width_needs() -> None:
    found = LINES[2][0]
    assert line(found, Paint(width=80)).splitlines() == [
        f"{BEGINS}  403   12.3 ms  {ASKED}",
        "              frail:v1.0.0 failed: crashed (onError: continue)",
        f"              gate:v1.0.0 answered  {ID}",
    ]
    for width in range(40, 200):
        plain = line(found, Paint(width=width))
        assert max(map(len, plain.splitlines())) <= width
        assert click.unstyle(line(found, Paint(colours=True, width=width))) == plain


def test_a_status_has_the_colour_of_its_class() -> None:
    colours = {200: 32, 302: 32, 404: 33, 503: 31}
    for status, colour in colours.items():
        assert f"\x1b[{colour}m{status}\x1b[0m" in line(exchange(status=status), Paint(colours=True))


@pytest.mark.parametrize(
    ("milliseconds", "expected"),
    [
        (0.0, "0.000 ms"), (0.0314, "0.031 ms"), (0.9994, "0.999 ms"), (0.99951, "1.00 ms"), (1.234, "1.23 ms"),
        (12.34, "12.3 ms"), (99.96, "100 ms"), (999.4, "999 ms"), (999.6, "1.00 s"), (1234.0, "1.23 s"),
        (3_600_000.0, "3600 s"),
    ],
)  # fmt: skip
def test_durations_have_three_significant_digits(milliseconds: float, expected: str) -> None:
    assert duration(milliseconds) == expected
