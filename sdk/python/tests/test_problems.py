"""Refusals as problem details (RFC 9457)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gatewright.action import ActionError, check
from gatewright.made_at import made_at
from gatewright.policy import ImmediateResponse
from gatewright.problems import problem


def document(answer: ImmediateResponse) -> dict[str, object]:
    assert answer.body is not None
    parsed: dict[str, object] = json.loads(answer.body)
    return parsed


def test_the_title_is_the_name_of_the_status() -> None:
    answer = problem(403, "only in office hours")
    assert answer.status_code == 403
    assert answer.headers == {"content-type": "application/problem+json"}
    expected = {"type": "about:blank", "title": "Forbidden", "status": 403, "detail": "only in office hours"}
    assert document(answer) == expected


@pytest.mark.parametrize("status", [499, 529, 599])
def test_a_status_without_a_name_has_its_number(status: int) -> None:
    assert document(problem(status)) == {"type": "about:blank", "title": f"Status {status}", "status": status}


def test_a_title_headers_and_members_of_ones_own() -> None:
    answer = problem(429, "later", title="Budget", headers={"retry-after": "7"}, budget="day", errors=[{"at": "/a"}])
    assert answer.headers == {"content-type": "application/problem+json", "retry-after": "7"}
    found = document(answer)
    assert (found["title"], found["budget"], found["errors"]) == ("Budget", "day", [{"at": "/a"}])


def test_it_is_an_answer_that_the_gateway_takes() -> None:
    check("on_request", problem(400, "a lone \ud83d, \u2028 and \x00"))


def test_the_policys_line_made_it() -> None:
    answer = problem(400)
    file, line = made_at(answer)
    assert file == __file__
    assert "problem(400)" in Path(file).read_text().splitlines()[line - 1]


def test_a_status_that_is_none_is_refused_where_every_answer_is() -> None:
    with pytest.raises(ActionError, match="1000"):
        check("on_request", problem(1000))
