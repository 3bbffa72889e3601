"""Run by the interpreter of the policy's environment, never by the command's own: replays exchanges, says how each
went.

    python -I -B child.py PARENT_PID SDK < JOB

JOB is a JSON object: `policy`, the file of its module; `definition`, as parsed; `supplied`; `systemParams`;
`seconds`, that one exchange may take, `importSeconds`, that the import may; `exchanges`, a list of `number`, `name`,
`exchange` and `params`, the last one parameters for each attachment in the chain's order. SDK is the folder of the
packages `gatewright` and `sdk`.

Writes JSON lines to stdout: {"number"} before an exchange and {"number", "executions", "warnings", "error"} after it;
{"import"} where the policy cannot be imported; {"hung"}, with "number" for an exchange, where something takes longer,
which ends the process. What policies print goes to stderr. Standard library only, but for the SDK.
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
    os._exit(0)  # whatever else the policy has begun


def _end_with(parent: int) -> None:
    """Has the kernel kill this process when the one that wants to know ends (prctl(2), PR_SET_PDEATHSIG)."""
    with contextlib.suppress(OSError, AttributeError):  # another system than Linux
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended already
        os._exit(1)


class _Replays:
    def __init__(self, job: Json, report: TextIO) -> None:
        self._job, self._report = job, report
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
                self._say({"import": describe(error, self._folder)})
                return
        definition = PolicyDefinition.from_document(self._job["definition"])
        for item in self._job["exchanges"]:
            self._say({"number": item["number"]})
            with watch.over({"number": item["number"]}):
                said = self._one(item, module, definition)
            self._say({"number": item["number"], **said})

    def _one(self, item: Json, module: Any, definition: Any) -> Json:
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
                executions += [_told(one) for one in replay.executions]
                warnings.update(dict.fromkeys(replay.warnings))
        except (IncompleteRecordingError, RecordingError, PreparationError) as error:
            return {"executions": [], "warnings": [], "error": str(error)}
        except Exception as error:  # of ours: no other exchange is to suffer for it
            said = "".join(traceback.format_exception_only(error)).strip()
            return {"executions": [], "warnings": [], "error": f"it cannot be read as a recording: {said}"}
        return {"executions": executions, "warnings": [*warnings], "error": ""}

    def _hung(self, about: Json) -> None:
        file, line = _place(self._folder)
        self._say({**about, "hung": {"file": file, "line": line}})
        os._exit(1)

    def _say(self, what: Json) -> None:
        with self._lock:
            print(json.dumps(what), file=self._report, flush=True)


def _told(execution: Any) -> Json:
    names = ("index", "phase", "outcome", "changes", "failure", "differences", "skipped")
    recorded = execution.recorded
    return {name: getattr(execution, name) for name in names} | {"recorded": recorded and recorded.get("outcome")}


# ------------------------------------------------------------------ what takes too long


class _Watch:
    """Calls `late` in a thread of its own, where something takes longer than `seconds`."""

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


def _place(folder: Path) -> tuple[str, int]:
    """The innermost line of the policy's that is under way: of a thread, or of a coroutine that waits; "" and 0."""
    for frame in sys._current_frames().values():
        if found := _innermost([each for each, _ in traceback.walk_stack(frame)], folder):
            return found
    for task in [each for each in gc.get_objects() if isinstance(each, asyncio.Task)]:
        if found := _innermost(reversed(_frames(task.get_coro())), folder):
            return found
    return "", 0


def _innermost(frames: Any, folder: Path) -> tuple[str, int] | None:
    """frames: the innermost first."""
    from gatewright.kit.policy_call import shown_path

    for frame in frames:
        if Path(frame.f_code.co_filename).is_relative_to(folder):
            return shown_path(frame.f_code.co_filename), frame.f_lineno
    return None


def _frames(coroutine: object) -> list[FrameType]:
    """Of a coroutine and of all that it awaits, the outermost first."""
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
