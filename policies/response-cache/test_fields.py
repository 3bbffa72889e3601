"""Dates in the three formats of HTTP, in UTC, and no other; the time that it takes to read directives."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from sdk import clock, testing

policy = testing.load_policy(__file__)
fields = sys.modules[policy.directives.__module__]
HTTP_DATES = {
    "Sun, 06 Nov 1994 08:49:37 GMT": 784111777,
    "Sunday, 06-Nov-94 08:49:37 GMT": 784111777,
    "Sun Nov  6 08:49:37 1994": 784111777,
    "Sun Nov 06 08:49:37 1994": 784111777,
    "Wed Nov 16 08:49:37 1994": 784975777,
    "Thu, 29 Feb 2024 00:00:00 GMT": 1709164800,
    "Sat, 31 Dec 2016 23:59:60 GMT": 1483228800,  # a leap second
    "Fri, 31 Dec 9999 23:59:59 GMT": 253402300799,
}
NO_HTTP_DATES = [
    "", "0", "-1", "soon", "Thu, 18 Aug 2050 02:01:18 AEST", "Thu, 18 Aug 2050 02:01:18 UTC",
    "Thu, 18 Aug 2050 02:01:18 -0000", "Thu, 18 Aug 2050 02:01:18 +0100", "Thu, 18 Aug 2050 02:01:18",
    "Thu, 18 Aug 2050 02.01.18 GMT", "Thu, 18-Aug-2050 02:01:18 GMT", "Thu, 18 Aug 2050 2:01:18 GMT",
    "Thu,  18 Aug 2050 02:01:18 GMT", "Thu, 18  Aug 2050 02:01:18 GMT", "Thu, 18 Aug 2050  02:01:18 GMT",
    "Thu, 18 Aug 50 02:01:18 GMT", "Thu 18 Aug 2050 02:01:18 GMT", "18 Aug 2050 02:01:18 GMT",
    "thu, 18 Aug 2050 02:01:18 GMT", "Thu, 18 aug 2050 02:01:18 GMT", "Thu, 18 Aug 2050 02:01:18 gmt",
    "Thu, 18 Aug 2050 02:01:18 GMT, Thu, 18 Aug 2050 02:01:18 GMT", "Thu, 18 Aug 2050 02:01:18 GMT x",
    "Thu, 8 Aug 2050 02:01:18 GMT", "Thu, 32 Aug 2050 02:01:18 GMT", "Thu, 18 Aug 2050 24:01:18 GMT",
    "Thu, 18 Aug 2050 02:60:18 GMT", "Thu, 18 Aug 2050 02:01:61 GMT", "Wed, 29 Feb 2023 00:00:00 GMT",
    "Thu, 18 Aug 0000 02:01:18 GMT", "Thu, 18-Aug-50 02:01:18 GMT", "Thu Aug 18 02:01:18 2050 GMT",
    "Thu Aug 8 02:01:18 2050", "Thu, 1\u0668 Aug 2050 02:01:18 GMT", "Thu, 18 Aug 2050 02:01:18 GMT\n",
]  # fmt: skip


@pytest.fixture
def far_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose time zone is hours from UTC."""
    monkeypatch.setenv("TZ", "PST8")  # POSIX, which needs no database of zones
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("far_zone")
@pytest.mark.parametrize("text", HTTP_DATES)
def test_a_date_is_utc_in_each_of_its_formats(text: str) -> None:
    assert fields.moment([text]) == HTTP_DATES[text]


@pytest.mark.parametrize("text", NO_HTTP_DATES)
def test_an_invalid_http_date_counts_as_expired(text: str) -> None:
    assert fields.moment([text]) is None


def test_a_year_of_two_digits_lies_at_most_fifty_years_ahead() -> None:
    year = datetime.fromtimestamp(clock.now(), UTC).year
    for ahead, expected in [(0, year), (49, year + 49), (51, year - 49), (99, year - 1)]:
        text = f"Sunday, 06-Nov-{(year + ahead) % 100:02} 08:49:37 GMT"
        assert fields.moment([text]) == datetime(expected, 11, 6, 8, 49, 37, tzinfo=UTC).timestamp()


def test_parsing_takes_time_linear_in_a_headers_length() -> None:
    began = time.process_time()
    for line in ("a" * 65536 + '"', "a=" * 32768, ", " * 32768 + '"', 'a="' + "\\" * 65536, "a " * 32768, "a," * 32768):
        fields.directives([line])
    assert time.process_time() - began < 10
