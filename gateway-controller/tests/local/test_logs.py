from __future__ import annotations

import json
import logging
import re
import sys

from gatewright_controller.local.logs import JsonLines

BEGINNING = re.compile(
    r'\{"time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z","level":"(debug|info|warning|error)",'
    r'"component":"controller","message":"'
)


def test_every_line_has_the_form_of_all_log_lines() -> None:
    """The supervisor passes such lines on unchanged."""
    levels = []
    for number in (5, 10, 20, 25, 30, 40, 50):
        record = logging.LogRecord("mine", number, "p.py", 1, 'say "it"\n%s', ("ö",), None)
        record.node = "n"
        line = JsonLines().format(record)
        assert BEGINNING.match(line)
        assert json.loads(line)["node"] == "n"
        levels.append(json.loads(line)["level"])
    assert levels == ["debug", "debug", "info", "info", "warning", "error", "error"]


def test_a_traceback_is_one_field() -> None:
    try:
        raise ValueError("no")
    except ValueError:
        record = logging.LogRecord("mine", logging.ERROR, "p.py", 1, "it failed", (), sys.exc_info())
    line = json.loads(JsonLines().format(record))
    assert line["message"] == "it failed"
    assert line["error"].startswith("Traceback")
    assert line["error"].endswith("ValueError: no")
