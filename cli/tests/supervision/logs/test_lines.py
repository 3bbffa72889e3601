from __future__ import annotations

from gatewright_cli.supervision.logs.lines import CUT, LineSplitter
from hypothesis import given
from hypothesis import strategies as st


def test_lines_across_pieces() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"one\ntw") == [b"one"]
    assert splitter.feed(b"o\r\n\nthree") == [b"two", b""]
    assert splitter.finish() == [b"three"]
    assert splitter.finish() == []


def test_a_long_line_is_returned_once_and_cut() -> None:
    splitter = LineSplitter(longest=4)
    assert splitter.feed(b"abcdef") == [b"abcd" + CUT]
    assert splitter.feed(b"ghi" * 1000) == []
    assert splitter.feed(b"end\nnext\n") == [b"next"]
    assert splitter.finish() == []


def test_a_long_line_in_one_piece_is_cut_too() -> None:
    assert LineSplitter(longest=4).feed(b"abcdef\nok\n") == [b"abcd" + CUT, b"ok"]


@given(st.lists(st.binary(max_size=30), max_size=20))
def test_cutting_does_not_depend_on_the_pieces(pieces: list[bytes]) -> None:
    def lines(fed: list[bytes]) -> list[bytes]:
        splitter = LineSplitter(longest=10)
        return [line for piece in fed for line in splitter.feed(piece)] + splitter.finish()

    assert lines(pieces) == lines([b"".join(pieces)])
