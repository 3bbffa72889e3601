"""Files that hold one value of a Secret each."""

from __future__ import annotations

from pathlib import Path


def file_text(path: Path) -> tuple[str, str]:
    """The value in a file, without one newline at its end, and what is wrong with it, which shows no value."""
    try:
        return text_of(path.read_bytes())
    except OSError as error:
        return "", f"{path}: {error.strerror}"


def text_of(content: bytes) -> tuple[str, str]:
    """As `file_text`, of what a file has."""
    try:
        return content.decode().removesuffix("\n").removesuffix("\r"), ""
    except UnicodeDecodeError:
        return "", "expected UTF-8 text, got other bytes: encode it, as by base64"
