from datetime import UTC, datetime, timedelta

import click
import pytest
from gatewright_cli.commands.units import DURATION, LABEL, SINCE, SIZE, UIDS


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [(DURATION, "24h", 86400.0), (DURATION, "500ms", 0.5), (DURATION, "1.5m", 90.0), (SIZE, "512MiB", 512 * 2**20)],
)
def test_amounts(kind: click.ParamType, text: str, value: float) -> None:  # type: ignore[type-arg]
    assert kind.convert(text, None, None) == value


@pytest.mark.parametrize(("kind", "text"), [(DURATION, "24"), (DURATION, "-1s"), (SIZE, "5MB"), (SIZE, "much")])
def test_invalid_values(kind: click.ParamType, text: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(click.BadParameter, match="expected a number and one of"):
        kind.convert(text, None, None)


def test_users() -> None:
    assert UIDS.convert("61184-65519", None, None) == (61184, 65519)
    assert UIDS.convert("7-7", None, None) == (7, 7)


@pytest.mark.parametrize("text", ["", "7", "0-7", "8-7", "-1-7", "7-8-9", "a-b"])
def test_no_users(text: str) -> None:
    with pytest.raises(click.BadParameter, match="expected the first and the last uid, such as 61184-65519, got"):
        UIDS.convert(text, None, None)


def test_a_duration_is_a_time_before_now() -> None:
    found = datetime.fromisoformat(SINCE.convert("2h", None, None))
    assert timedelta() <= datetime.now(UTC) - timedelta(hours=2) - found < timedelta(minutes=1)


@pytest.mark.parametrize("text", ["2026-11-30T08:00:00Z", "2026-11-30T09:00:00+01:00", "2026-11-30T08:00:00.000Z"])
def test_times(text: str) -> None:
    assert datetime.fromisoformat(SINCE.convert(text, None, None)) == datetime(2026, 11, 30, 8, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "yesterday", "2", "2w", "2026-11-30", "2026-11-30T08:00:00", "999999999d"])
def test_no_times(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"expected a duration such as 2h, or a time such as .*Z, got"):
        SINCE.convert(text, None, None)


def test_labels() -> None:
    assert LABEL.convert("team=a=b", None, None) == ("team", "a=b")
    for text in ("", "team", "=a"):
        with pytest.raises(click.BadParameter, match="expected KEY=VALUE, such as team=payments, got"):
            LABEL.convert(text, None, None)
