import click
import pytest
from gatewright_cli.commands.units import DURATION, SIZE, UIDS


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
