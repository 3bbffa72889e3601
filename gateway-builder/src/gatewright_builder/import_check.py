"""Run by the interpreter of a build's environment, never by the builder's: imports modules, says how each went.

    python -I -B import_check.py FOLDER MODULE…

Writes JSON lines to stdout: {"module"} before an import; {"module", "error", "kind", "missing", "file", "line"} after
one that failed, file and line being the last place below FOLDER that was reached. Standard library only.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from types import TracebackType
from typing import TextIO


def main(folder: str, *modules: str) -> None:
    """Imports each module with folder first on sys.path. What they print goes to stderr."""
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.path.insert(0, folder)
    for module in modules:
        _say(report, {"module": module})
        try:
            importlib.import_module(module)
        except BaseException as error:  # a policy may even exit
            _say(report, {"module": module} | _failure(error, folder))


def _failure(error: BaseException, folder: str) -> dict[str, object]:
    file, line = _place(error.__traceback__, folder)
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    return {"error": str(error), "kind": type(error).__name__, "missing": missing, "file": file, "line": line}


def _place(trace: TracebackType | None, folder: str) -> tuple[str | None, int | None]:
    frames = [frame for frame in traceback.extract_tb(trace) if frame.filename.startswith(folder + os.sep)]
    if not frames:
        return None, None
    return os.path.relpath(frames[-1].filename, folder), frames[-1].lineno


def _say(report: TextIO, what: dict[str, object]) -> None:
    print(json.dumps(what), file=report, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
