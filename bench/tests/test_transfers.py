from __future__ import annotations

import http.client
import time

import pytest

from bench import transfers
from bench.error import BenchError

SIZE = 3 * len(transfers.BLOCK) + 7


def test_the_upstream_takes_a_whole_upload() -> None:
    with transfers.byte_upstream() as (address, counts):
        port = int(address.rpartition(":")[2])
        assert transfers.download(port, "/x", SIZE) > 0
        assert transfers.upload(port, "/x", SIZE) > 0
        end = time.monotonic() + 10
        while counts.sent < SIZE and time.monotonic() < end:  # bytes are counted once the kernel has them: a client may
            time.sleep(0.01)  # have read them by then
        assert (counts.sent, counts.received) == (SIZE, SIZE)


def test_the_framing_of_chunks_is_not_counted() -> None:
    with transfers.byte_upstream() as (address, counts):
        client = http.client.HTTPConnection(address)
        client.request(
            "POST", "/x", iter([b"ab", b"cde"]), encode_chunked=True, headers={"transfer-encoding": "chunked"}
        )
        assert client.getresponse().read() == b"5"
        client.close()
        assert counts.received == 5


def test_an_unexpected_answer_is_an_error() -> None:
    with transfers.byte_upstream() as (address, _), pytest.raises(BenchError, match="expected an answer of 5 bytes"):
        transfers.download(int(address.rpartition(":")[2]), "/x?bytes=3&a", 5)
