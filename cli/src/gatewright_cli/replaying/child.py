"""Replays exchanges, and reports the result of each. The interpreter of the policy's environment runs it, never the
command's own.

    python -I -B child.py PARENT_PID SDK < JOB

JOB is a JSON object: `policy`, the file of its module; `definition`, as parsed; `supplied`; `systemParams`;
`seconds`, the limit of one exchange, `importSeconds`, the limit of the import; `exchanges`, a list of `number`, `name`,
`exchange` and `params`, the parameters of each attachment in the chain's order. SDK is the folder of the
packages `gatewright` and `sdk`.

Writes JSON lines to stdout: {"number"} before an exchange and {"number", "executions", "warnings", "error"} after it;
{"import"} if the policy cannot be imported; {"hung"}, with "number" for an exchange, if a limit has passed, which ends
the process. What policies print goes to stderr. Standard library only, but for the SDK.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

PR_SET_PDEATHSIG = 1
Json = dict[str, Any]


def main(parent: str, sdk: str) -> None:
    """Replays all exchanges of the job."""
    _end_with(int(parent))
    report = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    job = json.load(sys.stdin)
    sys.path.insert(0, sdk)
    try:
        _Replays(job, report).run()
    finally:
        report.flush()
    os._exit(0)  # also ends threads of the policy


def _end_with(parent: int) -> None:
    """Has the kernel kill this process when its parent ends (prctl(2), PR_SET_PDEATHSIG)."""
    with contextlib.suppress(OSError, AttributeError):  # another system than Linux
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent has ended already
        os._exit(1)


class _Replays:
    def __init__(self, job: Json, report: TextIO) -> None:
        self._job, self._output = job, report
        self._folder = Path(job["policy"]).parent
        self._lock = threading.Lock()

    def run(self) -> None:
        from gatewright import testing
        from gatewright.definition import PolicyDefinition
        from gatewright.kit.policy_call import describe

        watch = _Watch(self._job["seconds"], self._hung)
        with _Watch(self._job["importSeconds"], self._hung).over({}):
            try:
                module = testing.load_policy(self._job["policy"])
            except BaseException as error:  # an import may raise anything, SystemExit too
                self._report({"import": describe(error, self._folder)})
                return
        definition = PolicyDefinition.from_document(self._job["definition"])
        for item in self._job["exchanges"]:
            self._report({"number": item["number"]})
            with watch.over({"number": item["number"]}):
                result = self._replay(item, module, definition)
            self._report({"number": item["number"], **result})

    def _replay(self, item: Json, module: Any, definition: Any) -> Json:
        from gatewright.kit.policy_call import PreparationError
        from gatewright.kit.recording import IncompleteRecordingError, Recording, RecordingError, Supplied
        from gatewright.kit.replay import Candidate, attachments, run
        from gatewright.secrets import revive

        executions, warnings, supplied = [], {}, Supplied(**self._job["supplied"])
        try:
            recording = Recording.read(item["exchange"])
            recording.name = item["name"]
            places = attachments(recording, Candidate(module, definition, {}, self._folder))
            for number, index in enumerate(places):
                params = revive(item["params"][min(number, len(item["params"]) - 1)])
                operators, seconds = revive(self._job["systemParams"]), self._job["seconds"]
                candidate = Candidate(module, definition, params, self._folder, operators, seconds)
                replay = run(recording, candidate, supplied, index)
                executions += [_to_json(execution) for execution in replay.executions]
                warnings.update(dict.fromkeys(replay.warnings))
        except (IncompleteRecordingError, RecordingError, PreparationError) as error:
            return {"executions": [], "warnings": [], "error": str(error)}
        except Exception as error:  # a fault of the replay: other exchanges go on
            reason = "".join(traceback.format_exception_only(error)).strip()
            return {"executions": [], "warnings": [], "error": f"it cannot be read as a recording: {reason}"}
        return {"executions": executions, "warnings": [*warnings], "error": ""}

    def _hung(self, about: Json) -> None:
        file, line = _running_line(self._folder)
        self._report({**about, "hung": {"file": file, "line": line}})
        os._exit(1)

    def _report(self, message: Json) -> None:
        with self._lock:
            print(json.dumps(message), file=self._output, flush=True)


def _to_json(execution: Any) -> Json:
    names = ("index", "phase", "outcome", "changes", "failure", "differences", "skipped")
    recorded = execution.recorded
    return {name: getattr(execution, name) for name in names} | {"recorded": recorded and recorded.get("outcome")}


# ------------------------------------------------------------------ limits of time


class _Watch:
    """Calls `late` in a thread of its own if the body of `over` takes longer than `seconds`."""

    def __init__(self, seconds: float, late: Any) -> None:
        self._seconds, self._late = seconds, late

    @contextlib.contextmanager
    def over(self, about: Json) -> Any:
        timer = threading.Timer(self._seconds, self._late, (about,))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


def _running_line(folder: Path) -> tuple[str, int]:
    """The innermost line of the policy that is running: in a thread, or in a waiting coroutine; "" and 0 for none."""
    for frame in sys._current_frames().values():
        if place := _innermost([outer for outer, _ in traceback.walk_stack(frame)], folder):
            return place
    for task in [item for item in gc.get_objects() if isinstance(item, asyncio.Task)]:
        if place := _innermost(reversed(_frames(task.get_coro())), folder):
            return place
    return "", 0


def _innermost(frames: Any, folder: Path) -> tuple[str, int] | None:
    """frames: the innermost first."""
    from gatewright.kit.policy_call import shown_path

    for frame in frames:
        if Path(frame.f_code.co_filename).is_relative_to(folder):
            return shown_path(frame.f_code.co_filename), frame.f_lineno
    return None


def _frames(coroutine: object) -> list[FrameType]:
    """The frames of a coroutine and of everything that it awaits, the outermost first."""
    frames = []
    while coroutine is not None:
        names = ("cr_frame", "ag_frame", "gi_frame")
        frame = next((found for name in names if (found := getattr(coroutine, name, None)) is not None), None)
        if frame is not None:
            frames.append(frame)
        waits = ("cr_await", "ag_await", "gi_yieldfrom")
        coroutine = next((found for name in waits if (found := getattr(coroutine, name, None)) is not None), None)
    return frames


if __name__ == "__main__":
    main(*sys.argv[1:])
