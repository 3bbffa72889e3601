"""Cuts a stream of bytes into lines, without I/O."""

from __future__ import annotations

LONGEST = 64 * 1024
CUT = b" [line cut]"


class LineSplitter:
    """Takes pieces as they are read, returns whole lines without their ends.

    A line over `longest` bytes is returned once, cut there and marked; the rest of it is dropped as it arrives, so that
    a writer that never ends a line costs no memory.
    """

    def __init__(self, longest: int = LONGEST) -> None:
        self._longest = longest
        self._held = b""
        self._dropping = False

    def feed(self, piece: bytes) -> list[bytes]:
        """The lines that `piece` completes."""
        *whole, rest = piece.split(b"\n")
        lines = [line for line in map(self._complete, whole) if line is not None]
        if overlong := self._keep_rest(rest):
            lines.append(overlong)
        return lines

    def finish(self) -> list[bytes]:
        """The last line, where the stream ended without a line end."""
        last, self._held = self._held, b""
        return [last] if last and not self._dropping else []

    def _complete(self, piece: bytes) -> bytes | None:
        line, self._held = self._held + piece, b""
        if self._dropping:
            self._dropping = False
            return None
        return (line if len(line) <= self._longest else line[: self._longest] + CUT).rstrip(b"\r")

    def _keep_rest(self, rest: bytes) -> bytes | None:
        if self._dropping:
            return None
        self._held += rest
        if len(self._held) <= self._longest:
            return None
        line, self._held, self._dropping = self._held[: self._longest] + CUT, b"", True
        return line
