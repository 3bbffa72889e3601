"""What the Go runtime writes when it ends its process: why, and in which goroutine (https://pkg.go.dev/runtime)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

REASON = re.compile(rb"(?:panic|fatal error|SIG[A-Z]+): .*")
GOROUTINE = re.compile(rb"goroutine \d+ .*\[")
POLICY_FRAME = re.compile(rb"^(?:created by )?gatewright\.dev/build/policies/(\w+)[./]")


class GoDump:
    """Reads the lines that a process writes beside its log. `reason` is the first line of a dump, "" without one.

    policies: NAME:VERSION by package. `policy` is the innermost one in the first goroutine of the dump, which is the
    one that failed: "" where none of its frames is a policy's.
    """

    def __init__(self, policies: Mapping[str, str]) -> None:
        self._policies = policies
        self._in_goroutine = self._is_over = False
        self.reason = self.policy = ""

    def read(self, lines: Iterable[bytes]) -> None:
        """Reads the next lines."""
        if not self._is_over:
            for line in lines:
                self._read_line(line)

    def _read_line(self, line: bytes) -> None:
        if line.startswith(b"{"):  # a log line: the dump has none
            return
        if not self.reason:
            if REASON.fullmatch(line):
                self.reason = line.decode("utf-8", "backslashreplace")
        elif not self._in_goroutine:
            self._in_goroutine = GOROUTINE.match(line) is not None
        elif not line:
            self._is_over, self._in_goroutine = True, False
        elif not self.policy and not self._is_over and (frame := POLICY_FRAME.match(line)):
            self.policy = self._policies.get(frame[1].decode(), "")
