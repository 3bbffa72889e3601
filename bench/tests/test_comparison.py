from __future__ import annotations

import pytest

from bench import comparison, revision
from bench.campaign import in_order
from bench.rows import PLAIN
from bench.settings import BASE, Settings, parse
from bench.tests.samples import sample


@pytest.fixture
def compared_settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(revision, "resolve", lambda text: {"v1": "0123456789ab", BASE: "ba5e56789abc"}[text])
    return parse(["--compare", "v1"])


def test_each_row_is_measured_next_to_its_twin_of_the_other_commit(compared_settings: Settings) -> None:
    assert [(row.key, row.revision) for row in in_order(compared_settings.measured_at(64), 0)] == [
        ("no-policies", ""), ("0123456-no-policies", "0123456789ab"), ("ba5e567-no-policies", "ba5e56789abc"),
        ("go", ""), ("0123456-go", "0123456789ab"), ("ba5e567-go", "ba5e56789abc"),
        ("go-python-go", ""), ("0123456-go-python-go", "0123456789ab"), ("ba5e567-go-python-go", "ba5e56789abc"),
    ]  # fmt: skip
    assert (compared_settings.connections, compared_settings.rounds) == ((64,), 5)


def test_twins_have_the_same_policies_and_different_paths(compared_settings: Settings) -> None:
    for now, then in zip(compared_settings.rows[::3], compared_settings.rows[1::3], strict=True):
        assert (now.policies, now.upstream, now.client) == (then.policies, then.upstream, then.client)
        assert (then.prefix, then.title) == (f"/0123456-{now.key}", f"{now.title}, 0123456789ab")


@pytest.mark.usefixtures("compared_settings")
def test_peers_are_measured_once() -> None:
    settings = parse(["--compare", "v1", "--rows", "plain,go"])
    assert [row.key for row in settings.rows] == [PLAIN, "go", "0123456-go", "ba5e567-go"]


@pytest.mark.usefixtures("compared_settings")
def test_a_commit_that_is_named_twice_is_measured_once() -> None:
    assert parse(["--compare", f"v1,v1,{BASE}"]).compare == ("0123456789ab", "ba5e56789abc")


def test_ratios_are_of_the_same_round(compared_settings: Settings) -> None:
    samples = [
        sample("go", 0, 1200, connections=64, p50=50, Envoy=60, Go=20),
        sample("0123456-go", 0, 1000, connections=64, p50=100, Envoy=80, Go=40),
        sample("go", 1, 500, connections=64, p50=90, Envoy=90, Go=30),
        sample("0123456-go", 1, 500, connections=64, p50=90, Envoy=90, Go=30),
    ]
    lines = comparison.markdown(samples, compared_settings).splitlines()
    assert lines[0] == "### This tree / 0123456789ab"
    assert lines[2] == "| connections | row | req/s | p50 | p99 | CPU Envoy | CPU Go | CPU Python | CPU all |"
    assert lines[5] == (
        "| 64 | gateway, Go → Go | 1.10 (1.00–1.20) | 0.75 (0.50–1.00) | 0.75 (0.50–1.00) "
        "| 0.88 (0.75–1.00) | 0.75 (0.50–1.00) | – | 0.83 (0.67–1.00) |"
    )
    assert lines[4].endswith("| – | – | – | – | – | – | – |")
    assert lines[8] == "### This tree / ba5e56789abc"


def test_an_unknown_commit_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--compare", "no-such-commit"])
    assert "expected a commit, as git names it, got 'no-such-commit'" in capsys.readouterr().err
