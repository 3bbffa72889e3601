"""The section of a file between two markers."""

from __future__ import annotations

from pathlib import Path

from bench.error import BenchError

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
EXECUTORS_BEGIN, EXECUTORS_END = "<!-- executors: begin -->", "<!-- executors: end -->"
IN_ENVOY_BEGIN, IN_ENVOY_END = "<!-- in-envoy: begin -->", "<!-- in-envoy: end -->"

LLM_BEGIN, LLM_END = "<!-- llm: begin -->", "<!-- llm: end -->"


def write(file: Path, section: str, begin: str = BEGIN, end: str = END) -> None:
    """Replaces the text between the markers."""
    try:
        file.write_text(replace_section(file.read_text(), section, begin, end))
    except (OSError, ValueError) as error:
        raise BenchError(f"{file}: {error}") from error


def replace_section(text: str, section: str, begin: str = BEGIN, end: str = END) -> str:
    """The text with another section. Raises ValueError unless each marker occurs once, in order."""
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end) or begin in rest or end in before + after:
        raise ValueError(f"expected {begin} and, after it, {end}, once each")
    return f"{before}{begin}\n\n{section.strip()}\n\n{end}{after}"
