"""`gatewright build`: calls the builder, shows its progress, says its mistakes."""

from __future__ import annotations

import time
from pathlib import Path

from gatewright_builder import BuildError, BuildOptions
from gatewright_builder import build as run_builder
from rich.console import Console

from gatewright_cli.preflight import PreflightError


def build(manifest: Path, output: Path) -> float:
    """Builds; returns the seconds that it took. Raises PreflightError with a sentence for each mistake."""
    console, began = Console(stderr=True, highlight=False), time.monotonic()
    try:
        run_builder(BuildOptions(manifest, output, lambda step: console.print(f"build: {step}", markup=False)))
    except BuildError as error:
        raise PreflightError([str(mistake) for mistake in error.mistakes] or [str(error)]) from error
    return time.monotonic() - began
