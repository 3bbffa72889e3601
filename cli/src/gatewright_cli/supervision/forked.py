"""Runs work in a fork of this process, so that its imports and its memory end with it."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Generator
from typing import Any, TextIO, TypeVar

from gatewright_cli.supervision import prctl

FAULT_STATUS = 70
T = TypeVar("T")


def fork(work: Callable[[], int], at_our_end: signal.Signals) -> int:
    """The pid of a child that runs `work` and ends with the status that this returns; if it fails, with FAULT_STATUS
    and a traceback on stderr. The child gets the signal when this process ends. Call it before there are threads.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    gc.freeze()  # the child must finalize no garbage of this process: a gRPC channel would wait for threads for ever
    status = FAULT_STATUS
    try:
        prctl.end_with_parent(at_our_end)
        if os.getppid() == parent:
            status = work()
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


class Conversation:
    """A child that runs a generator: this process receives the values that it yields, as JSON (text, numbers, None,
    lists and dictionaries), and sends the texts that its `yield`s return. Make it before there are threads, and close
    it.
    """

    def __init__(self, work: Callable[[], Generator[Any, str, None]]) -> None:
        answers, answers_end = os.pipe()
        questions_end, questions = os.pipe()

        def talk() -> int:
            os.close(answers)
            os.close(questions)
            with os.fdopen(questions_end) as requests, os.fdopen(answers_end, "w") as results:
                _talk(work(), requests, results)
            return 0

        self._pid: int | None = fork(talk, signal.SIGTERM)
        os.close(answers_end)
        os.close(questions_end)
        self._answers, self._questions = os.fdopen(answers), os.fdopen(questions, "w")

    def receive(self) -> Any:
        """The next value of the generator. If the generator fails, its traceback is on stderr, and this process exits
        with the child's exit status.
        """
        if line := self._answers.readline():
            return json.loads(line)
        status = self.close()
        assert status != 0, "expected the child to yield, got its end"
        sys.exit(status if status > 0 else 128 - status)

    def send(self, text: str) -> None:
        """Continues the generator with the text."""
        print(json.dumps(text), file=self._questions, flush=True)

    def close(self) -> int:
        """Ends the child, also one that waits for a text. Returns its exit status; 0 on later calls."""
        if self._pid is None:
            return 0
        pid, self._pid = self._pid, None
        self._questions.close()
        with self._answers as unread:
            unread.read()
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _talk(work: Generator[Any, str, None], requests: TextIO, results: TextIO) -> None:
    with contextlib.suppress(StopIteration):
        answer = next(work)
        while True:
            print(json.dumps(answer), file=results, flush=True)
            if not (question := requests.readline()):
                return
            answer = work.send(json.loads(question))


def in_child(work: Callable[[], T]) -> T:
    """The result of `work` in a child, passed as JSON. Call it before there are threads."""

    def once() -> Generator[T, str, None]:
        yield work()

    with contextlib.closing(Conversation(once)) as child:
        result: T = child.receive()
        return result
