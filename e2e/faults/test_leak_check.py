from __future__ import annotations

from e2e.faults.leak_check import Sample, find_growth, report

MIB = 1 << 20


def run(*memory: int, resource: str = "memory") -> list[Sample]:
    return [Sample(float(at), {"engine": {resource: value}}) for at, value in enumerate(memory)]


def test_growth_within_a_tenth_is_flat() -> None:
    assert find_growth(run(*[100 * MIB] * 4, *[109 * MIB] * 4)) == []


def test_larger_growth_is_named() -> None:
    assert find_growth(run(*[100 * MIB] * 4, *[112 * MIB] * 4)) == ["✗ engine: memory grew from 104857600 to 117440512"]


def test_small_absolute_growth_is_flat() -> None:
    assert find_growth(run(*[10] * 4, *[13] * 4, resource="threads")) == []
    assert find_growth(run(*[10] * 4, *[14] * 4, resource="threads")) != []


def test_one_peak_is_no_growth() -> None:
    assert find_growth(run(*[100 * MIB] * 7, 900 * MIB, *[100 * MIB] * 2)) == []


def test_a_run_without_samples_proves_nothing() -> None:
    assert "expected at least 6 samples" in find_growth(run(1, 2))[0]


def test_the_report_has_a_figure_of_each_third() -> None:
    assert "| engine | memory | 1 | 3 | 2 |" in report(run(1, 1, 3, 3, 2, 2))
