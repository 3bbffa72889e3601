"""What `gatewright explain` prints, compared with files; `--update` writes these anew."""

from __future__ import annotations

import io
from pathlib import Path

import click
import pytest
from gatewright_cli.exchanges.paint import UNBOUNDED, Paint
from gatewright_cli.exchanges.recorded import UnreadableError, read
from gatewright_cli.exchanges.report import report
from gatewright_cli.exchanges.source_lines import Sources

from cli.tests.exchanges.examples import body, change, document, exchange, execution, failure, policy_file

TESTDATA = Path(__file__).parent / "testdata"
HEADER = [change("header", after=["ann"], name="x-user"), change("header", ["*/*"], ["a", "b"], "accept")]
OTHERS = [
    change("method", "GET", "POST"), change("path", "/7", "/8"), change("query", "x=1"),
    change("authority", "a", "b"), change("upstream", after="spare"), change("trailer", ["1"], name="x-sum"),
    change("metadata", {"plan": "free"}, {"plan": "paid"}, "user"), change("analytics", after=7, name="cost"),
    {"what": "metadata", "name": "gone", "before": 1, "after": None},
]  # fmt: skip
ANSWER = {"status": 418, "headers": [["content-type", "text/plain"]], "body": body("no\ncoffee")}
JSON_BODY = change("body", body('{"a":1,"b":[1,2],"c":3}'), body('{"a":1,"b":[1,2,3],"c":3}'))
TEXT_BODY = change("body", body("one\ntwo\nthree\n"), body("one\n2\nthree\n", truncated=True))
BYTES_BODY = change("body", {"size": 3, "base64": "/wD/", "decoded": "zstd"}, {"size": 0, "text": ""})
LONG = "x" * 150

MASKED = change("header", ["1234"], ["****"], "x-card")
ANSWERS = change("answer", after=ANSWER)
REFUSED = {
    "party": "upstream", "code": "connection_refused", "reason": "the upstream 10.0.0.7:80 refused the connection",
    "cure": "start the upstream, or correct its address in spec.upstream", "flags": "UF",
}  # fmt: skip
NO_ROUTE = {
    "party": "client", "code": "no_route", "reason": "no API has the path /oders/7",
    "cure": "request a path under the context of an API (/orders, /items), or publish one", "flags": "NR",
}  # fmt: skip
EXCHANGES = {
    "five-policies": exchange(
        execution(0, "first"),
        execution(1, "second"),
        execution(2, "third", "changed", changes=HEADER),
        execution(3, "fourth"),
        execution(4, "fifth"),
        execution(4, "fifth", phase="response", startedMs=9.0),
        execution(2, "third", "changed", "response", startedMs=10.0, changes=[change("status", 200, 201)]),
        status=201,
        forwarded={"atMs": 5.1, "headers": []},
        upstreamResponse={"atMs": 8.9, "status": 200, "headers": []},
    ),
    "all-changes": exchange(
        execution(0, "first", "changed", changes=OTHERS),
        execution(1, "bodies", "changed", changes=[JSON_BODY, TEXT_BODY, BYTES_BODY]),
        execution(2, "long", "changed", changes=[change("header", after=[LONG], name="x-long")]),
        traceId="4bf92f3577b34da6a3ce929d0e0e4736",
        redacted=2,
    ),
    "skipped": exchange(
        execution(0, "first"),
        execution(1, "beta", "skipped", workMs=None, durationMs=0.0, when='request.headers["x-beta"] == "1"'),
        execution(2, "third", "changed", changes=HEADER),
    ),
    "answered": exchange(
        execution(0, "first"),
        execution(1, "gate", "answered", changes=[change("answer", after=ANSWER)]),
        status=418,
        answeredBy="policy",
        details="policy_answer",
    ),
    "answered-without-headers": exchange(
        execution(0, "gate", "answered", changes=[change("answer", after={"status": 401, "body": body("who?")})]),
        status=401,
        answeredBy="policy",
        details="policy_answer",
    ),
    "timeout": exchange(
        execution(0, "slow", "failed", durationMs=1000.2, workMs=None, failure=failure("timeout", "late after 1s")),
        status=504,
        durationMs=1001.3,
        answeredBy="failure",
        details="policy_timeout",
    ),
    "passed-over": exchange(
        execution(0, "frail", "continued", failure=failure("crashed", "the executor ended")),
        execution(1, "shade", "answered", shadow=True, changes=[change("answer", after=ANSWER)]),
    ),
    "shadows": exchange(
        execution(0, "mask", "changed", changes=[MASKED]),
        execution(1, "mask", "unchanged", shadow=True, comparison="different", comparedWith=0),
        execution(2, "near", "changed", shadow=True, comparison="same", comparedWith=0, changes=[MASKED]),
        execution(3, "alone", "answered", shadow=True, comparison="different", changes=[ANSWERS]),
        execution(4, "full", "skipped", shadow=True, reason="8 executions of it are under way and 128 wait"),
        execution(5, "broken", "failed", shadow=True, failure=failure("crashed", "the executor ended")),
        policies=["mask:v1.0.0", "mask:v2.0.0", "near:v1.0.0", "alone:v1.0.0", "full:v1.0.0", "broken:v1.0.0"],
    ),
    "no-upstream": exchange(status=503, answeredBy="proxy", details="upstream_reset_before_response_started"),
    "refused-connection": exchange(
        execution(0, "first"),
        execution(0, "first", phase="response", startedMs=9.0),
        status=503,
        answeredBy="proxy",
        details="upstream_reset_before_response_started",
        forwarded={"atMs": 5.1, "headers": []},
        upstreamResponse={"atMs": 8.9, "status": 503, "headers": []},
        cause=REFUSED,
    ),
    "no-route": exchange(
        status=404, answeredBy="proxy", details="route_not_found", api="", operation="", chain="", cause=NO_ROUTE
    ),
    "streams": exchange(
        execution(0, "mask", "changed", "response_stream", startedMs=10, durationMs=1500, workMs=8, chunksMs=1490),
        durationMs=1511.0,
        forwarded={"atMs": 1.0, "headers": []},
        upstreamResponse={"atMs": 9.0, "endMs": 1500.0, "status": 200, "headers": []},
    ),
    "gone": exchange(
        execution(0, "stream", "cancelled", "request_stream", stream={"bytesIn": 12, "bytesOut": 7}),
        response=None,
        outcome="cancelled",
    ),
    "unseen": exchange(execution(0, "first"), response=None, answeredBy="", policies=["first:v1.0.0"]),
    "refused": exchange(
        status=431, answeredBy="gateway", details="headers_too_large", policies=["first:v1.0.0", "second:v1.0.0"]
    ),
    "broken": exchange(response=None, outcome="failed", error="the front end's stream has ended", answeredBy=""),
}  # fmt: skip
WIDTHS = {"wide": UNBOUNDED, "terminal": 100, "narrow": 50}
PRINTED = [
    *((name, "terminal") for name in EXCHANGES),
    ("all-changes", "wide"),
    *((name, "narrow") for name in ("all-changes", "passed-over", "shadows")),
]


@pytest.mark.parametrize(("name", "width"), PRINTED)
def test_reports_are_their_goldens(name: str, width: str, request: pytest.FixtureRequest) -> None:
    text = "".join(f"{line}\n" for line in report(EXCHANGES[name], Paint(width=WIDTHS[width])))
    golden = TESTDATA / f"{name}.{width}.txt"
    if request.config.getoption("--update"):
        golden.write_text(text)
    assert text == golden.read_text()


@pytest.mark.parametrize("width", WIDTHS.values())
@pytest.mark.parametrize("name", EXCHANGES)
def test_no_line_is_wider_than_the_terminal(name: str, width: int) -> None:
    assert max(map(len, report(EXCHANGES[name], Paint(width=width)))) <= width


def test_each_golden_has_a_report() -> None:
    assert {file.name for file in TESTDATA.glob("*.txt")} == {f"{name}.{width}.txt" for name, width in PRINTED}


def test_a_failure_has_its_file_and_the_lines_around(tmp_path: Path) -> None:
    file = policy_file(tmp_path)
    raised = failure("exception", "KeyError: 'tenant'", str(file), 4)
    found = exchange(execution(0, "quota", "failed", failure=raised), status=500, answeredBy="failure")
    lines = report(found, Paint())
    assert lines[0] == (
        "GET /orders/v1.0/7?x=1: the gateway answered 500 because quota:v1.0.0 failed in the request phase: "
        "exception: KeyError: 'tenant'; 12.3 ms"
    )
    assert lines[-7:] == [
        "  exception: KeyError: 'tenant'",
        f"  {file}:4",
        '       2      """One."""',
        "       3      # three",
        '  >    4      return context["tenant"]',
        "       5",
        "       6  # six",
    ]


def test_a_file_is_found_by_the_name_that_its_author_knows(tmp_path: Path) -> None:
    """In the copy that runs, or where the command is; a file of another policy is not taken for it."""
    copy, own, other = (tmp_path / name for name in ("copies/rate_limit_v1_0_0", "policies/rate-limit", "copies"))
    for folder in (copy, own, other):
        folder.mkdir(parents=True, exist_ok=True)
    raised = failure("exception", "no", "policies/rate-limit/policy.py", 1)
    found = exchange(execution(0, "rate-limit", "failed", failure=raised))
    policy_file(other)
    assert report(found, Paint(), Sources(other, tmp_path))[-1] == "  policies/rate-limit/policy.py:1"
    policy_file(own)
    for sources in (Sources(other, tmp_path), Sources(here=tmp_path)):
        assert "  >    1  def on_request(context, params):" in report(found, Paint(), sources)
    policy_file(copy).write_text("what runs\n")
    assert report(found, Paint(), Sources(other, tmp_path))[-1] == "  >    1  what runs"


@pytest.mark.parametrize(
    ("file", "line"), [("/no/such/policy.py", 4), ("policy.py", 1), ("HERE", 99), ("/dev/zero", 1)]
)
def test_where_the_file_is_not_here_it_is_named_alone(tmp_path: Path, file: str, line: int) -> None:
    file = file.replace("HERE", str(policy_file(tmp_path)))
    found = exchange(execution(0, "quota", "failed", failure=failure("exception", "no", file, line)))
    assert report(found, Paint())[-1] == f"  {file}:{line}"


def test_control_characters_of_clients_and_policies_do_not_reach_a_terminal() -> None:
    evil = "a\x1b[31m\u202eb\nc\x00"
    changes = [
        change("header", [evil], [evil], evil),
        change("body", body(evil), body("x")),
        change("path", evil, evil),
    ]
    changes.append(change("answer", after={"status": 200, "headers": [[evil, evil]], "body": body(evil)}))
    executions = [execution(0, evil, "failed", evil, failure=failure(evil, evil, evil, 1), changes=changes)]
    members = ("id", "node", "startedAt", "api", "operation", "chain", "traceId", "details", "error", "answeredBy")
    fields = {**document(*executions), **dict.fromkeys(members, evil), "response": None}
    fields["request"] = {"method": evil, "path": evil, "query": evil}
    fields["client"] = {"address": evil}
    del fields["executions"]
    text = "\n".join(report(exchange(*executions, **fields), Paint()))
    assert not set(text) & set("\x1b\u202e\x00")
    assert "a\\x1b[31m\\u202eb" in text


def test_colours_and_a_width_are_for_terminals_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    assert Paint.of(Terminal(), {"TERM": "xterm"}) == Paint(colours=True, width=70)
    assert Paint.of(Terminal(), {"TERM": "xterm", "NO_COLOR": "1"}) == Paint(colours=False, width=70)
    assert Paint.of(Terminal(), {"TERM": "dumb"}) == Paint(colours=False, width=70)
    assert Paint.of(io.StringIO(), {"TERM": "xterm"}) == Paint(colours=False, width=UNBOUNDED)
    painted = "\n".join(report(EXCHANGES["all-changes"], Paint(colours=True)))
    assert "\x1b[32m    + POST\x1b[0m" in painted
    assert click.unstyle(painted) == "\n".join(report(EXCHANGES["all-changes"], Paint()))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_an_invalid_recording_is_refused() -> None:
    with pytest.raises(UnreadableError, match="expected a recorded exchange as JSON"):
        read(b"{}")
    with pytest.raises(
        UnreadableError, match="expected a recording of version 1, got 2; use the gatewright of the node"
    ):
        read(b'{"version": 2, "id": "x"}')
