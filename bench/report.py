"""The section of a file between two markers."""

from __future__ import annotations

from pathlib import Path

from bench.error import BenchError

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


def write(file: Path, section: str) -> None:
    """Replaces what stands between the markers; all else stays."""
    try:
        file.write_text(replaced(file.read_text(), section))
    except (OSError, ValueError) as error:
        raise BenchError(f"{file}: {error}") from error


def replaced(text: str, section: str) -> str:
    """Raises ValueError unless each marker is there once, in order."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in rest or END in before + after:
        raise ValueError(f"expected {BEGIN} and, after it, {END}, once each")
    return f"{before}{BEGIN}\n\n{section.strip()}\n\n{END}{after}"
