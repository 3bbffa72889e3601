"""The folders that tests read and build from."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The repository's root."""

MANIFEST = Path(__file__).resolve().parent / "build.yaml"
"""The build that most tests share, with the policies of e2e/kit/policies."""
