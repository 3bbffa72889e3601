"""Work in a fork of this process: what it imports and what it holds is gone with it."""

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
    """The pid of a child that does `work` and ends with the status that it returns; with FAULT_STATUS, and a traceback
    on stderr, where it fails. It gets the signal when this process ends. Call it before there are threads.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    gc.freeze()  # so no garbage of this process is finalized in the child: a gRPC channel waits for threads for ever
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
    """A child in which a generator runs: this process receives what it yields, as JSON has it (text, numbers, None,
    lists and dictionaries), and sends the text that a `yield` of it returns. Make it before there are threads, and
    close it.
    """

    def __init__(self, work: Callable[[], Generator[Any, str, None]]) -> None:
        answers, answers_end = os.pipe()
        questions_end, questions = os.pipe()

        def talk() -> int:
            os.close(answers)
            os.close(questions)
            with os.fdopen(questions_end) as asked, os.fdopen(answers_end, "w") as answered:
                _talk(work(), asked, answered)
            return 0

        self._pid: int | None = fork(talk, signal.SIGTERM)
        os.close(answers_end)
        os.close(questions_end)
        self._answers, self._questions = os.fdopen(answers), os.fdopen(questions, "w")

    def receive(self) -> Any:
        """What the generator yields next. Where it fails, its traceback is on stderr, and this process ends with the
        child's exit status.
        """
        if line := self._answers.readline():
            return json.loads(line)
        status = self.close()
        assert status != 0, "expected the child to yield, got its end"
        sys.exit(status if status > 0 else 128 - status)

    def send(self, text: str) -> None:
        """Goes on with the generator."""
        print(json.dumps(text), file=self._questions, flush=True)

    def close(self) -> int:
        """The child's exit status, once it has ended: where it waits for a question, there comes none. 0 afterwards."""
        if self._pid is None:
            return 0
        pid, self._pid = self._pid, None
        self._questions.close()
        with self._answers as unheard:
            unheard.read()
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _talk(work: Generator[Any, str, None], asked: TextIO, answered: TextIO) -> None:
    with contextlib.suppress(StopIteration):
        answer = next(work)
        while True:
            print(json.dumps(answer), file=answered, flush=True)
            if not (question := asked.readline()):
                return
            answer = work.send(json.loads(question))


def in_child(work: Callable[[], T]) -> T:
    """What `work` returned in a child, as `Conversation` has it. Call it before there are threads."""

    def once() -> Generator[T, str, None]:
        yield work()

    with contextlib.closing(Conversation(once)) as child:
        result: T = child.receive()
        return result
