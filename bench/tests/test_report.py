from __future__ import annotations

from pathlib import Path

import pytest

from bench import report
from bench.error import BenchError

EMPTY = f"# Bench\n\n{report.BEGIN}\n{report.END}\n\nrest\n"


def test_only_the_text_between_the_markers_changes(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_text(EMPTY)
    report.write(file, "first")
    report.write(file, "second\n")
    assert file.read_text() == f"# Bench\n\n{report.BEGIN}\n\nsecond\n\n{report.END}\n\nrest\n"


@pytest.mark.parametrize("text", ["", report.BEGIN, report.END + report.BEGIN, EMPTY + EMPTY])
def test_a_file_without_its_markers_is_left_alone(text: str, tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_text(text)
    with pytest.raises(BenchError, match=r"README\.md: expected <!-- bench: begin --> and, after it"):
        report.write(file, "figures")
    assert file.read_text() == text


def test_the_readme_has_its_markers() -> None:
    readme = (Path(report.__file__).parent / "README.md").read_text()
    assert "figures" in report.replace_section(readme, "figures")
