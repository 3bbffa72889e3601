"""Pairs of keys, as `gatewright state key` makes them."""

from __future__ import annotations

from pathlib import Path

from gatewright_controller.signed_state import make_key
from gatewright_documents.mistake import Invalid

from gatewright_cli.mistakes import PreflightError


def make_pair(private: Path, public: Path) -> str:
    """Writes both files, and returns what to do with them. Raises PreflightError."""
    try:
        name = make_key(private, public)
    except Invalid as invalid:
        raise PreflightError([str(mistake) for mistake in invalid.mistakes]) from None
    return (
        f"key {name}: {private} is private and for the controller alone (--state-key); "
        f"{public} is for nodes (--state-authority)"
    )
