"""Which policies take long to import, as the builds of an output have measured it.

It is beside the output, for no output holds what is otherwise on each machine. A run under --watch gives these policies
executors of their own.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path

SLOW_SECONDS = 0.7


def slow_imports_file(output: Path) -> Path:
    """Seconds by name:version, as JSON; there is none where no policy is slow."""
    return output.with_name(f".{output.name}.slow-imports.json")


def record_imports(output: Path, measured: Mapping[str, float], present: Collection[str]) -> None:
    """Keeps what was measured before of the policies that are present and were not imported again."""
    file = slow_imports_file(output)
    known: dict[str, float] = {}
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(file.read_text())
    seconds = known | {key: round(value, 3) for key, value in measured.items()}
    slow = {key: seconds[key] for key in sorted(seconds) if key in present and seconds[key] >= SLOW_SECONDS}
    with contextlib.suppress(OSError):  # the next edit is slower, and no more
        if slow and slow != known:
            file.write_text(json.dumps(slow) + "\n")
        elif not slow:
            file.unlink(missing_ok=True)
