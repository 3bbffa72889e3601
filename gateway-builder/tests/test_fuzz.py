"""Archives as an attacker may make them: `make fuzz`."""

from __future__ import annotations

import gzip
import io
import sys
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath

from gatewright_builder.fetching.archive import Archive, ArchiveError, Limits, read_archive
from hypothesis import given, settings
from hypothesis import strategies as st

LIMITS = Limits(packed=1 << 20, unpacked=1 << 18, files=20, folder=1 << 14)
MOST_MEMORY = 4 * LIMITS.unpacked + (1 << 20)  # headers are read whole, decoded and split
BLOCK = 512

NAMES = st.one_of(
    st.sampled_from(["repo/", "repo/p/", "repo/p/a", "repo/p/a/b", "repo/p/c", "repo/q", "other/p/a", ".", "", "/"]),
    st.lists(st.sampled_from(["repo", "p", "a", "..", ".", "", "é", "a\nb", "a\\b", "x" * 90]), max_size=6).map(
        "/".join
    ),
    st.text(max_size=12),
)
KINDS = st.one_of(
    st.sampled_from([b"0", b"0", b"5"]), st.sampled_from([*(b"%c" % n for n in b"\x001234567DKLMNSVXgx")])
)
CONTENTS = st.one_of(st.binary(max_size=40), st.builds(bytes, st.integers(0, 40_000)))
SIZES = st.one_of(
    st.integers(0, 1 << 33).map(lambda size: b"%011o\0" % size),
    st.integers(-(1 << 20), 1 << 80).map(lambda size: b"\x80" + (size % (1 << 88)).to_bytes(11)),
    st.integers(1, 1 << 70).map(lambda size: b"\xff" + (-size % (1 << 88)).to_bytes(11)),
    st.binary(min_size=12, max_size=12),
)
EXTENSION = st.builds(
    lambda name, value: f" {name}={value}\n".encode("utf-8", "surrogatepass"),
    st.sampled_from(
        [
            "path",
            "linkpath",
            "size",
            "comment",
            "mtime",
            "hdrcharset",
            "GNU.sparse.major",
            "GNU.sparse.minor",
            "GNU.sparse.map",
            "GNU.sparse.size",
            "GNU.sparse.realsize",
            "GNU.sparse.name",
            "SCHILY.xattr.a",
            "",
        ]
    ),
    st.one_of(
        NAMES, st.integers(-(1 << 70), 1 << 70).map(str), st.sampled_from(["1", "0,10,20,30", "1e999", "BINARY"])
    ),
)


def extensions(lines: Sequence[bytes], wrong: int) -> bytes:
    """The content of a header of kind x: each record begins with its own length."""
    records = b""
    for line in lines:
        size = len(line) + 1
        while len(str(size)) + len(line) != size:
            size += 1
        records += b"%d" % (size + wrong) + line
    return records


def member(name: str, kind: bytes, target: str, content: bytes, size: bytes | None) -> bytes:
    """Header and content. `size` where the header says another."""
    fields = [
        (name.encode("utf-8", "surrogatepass")[:100], 100),
        *((b"0000644\0", 8), (b"0000000\0", 8), (b"0000000\0", 8)),
        (size or b"%011o\0" % len(content), 12),
        *((b"00000000000\0", 12), (b" " * 8, 8), (kind, 1)),
        (target.encode("utf-8", "surrogatepass")[:100], 100),
        (b"ustar\x0000", 8),
    ]
    head = b"".join(value.ljust(length, b"\0") for value, length in fields).ljust(BLOCK, b"\0")
    head = head[:148] + b"%06o\0 " % sum(head) + head[156:]
    return head + content + bytes(-len(content) % BLOCK)


MEMBERS = st.one_of(
    st.builds(member, NAMES, KINDS, NAMES, CONTENTS, st.none() | SIZES),
    st.builds(member, NAMES, st.just(b"0"), st.just(""), CONTENTS, st.none()),
    st.builds(
        member,
        st.just("pax"),
        st.sampled_from([b"x", b"g"]),
        st.just(""),
        st.builds(extensions, st.lists(EXTENSION, max_size=4), st.sampled_from([0, 0, 0, -1, 1000])),
        st.none(),
    ),
    st.builds(
        member,
        st.just("long"),
        st.sampled_from([b"L", b"K"]),
        st.just(""),
        NAMES.map(lambda name: name.encode("utf-8", "surrogatepass") + b"\0"),
        st.none(),
    ),
)
CHANGES = st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), max_size=3)


def packed(members: Sequence[bytes], changes: Sequence[tuple[int, int]], cut: int) -> io.BytesIO:
    """An archive with other bytes in some places, whose last bytes are missing."""
    tar = bytearray(b"".join(members) + bytes(2 * BLOCK))
    for place, byte in changes:
        tar[place % len(tar)] = byte
    file = gzip.compress(bytes(tar), compresslevel=1)
    return io.BytesIO(file[: len(file) - cut % len(file)] if cut else file)


ARCHIVES = st.one_of(
    st.builds(packed, st.lists(MEMBERS, max_size=8), CHANGES, st.one_of(st.just(0), st.integers(0, 100))),
    st.binary(max_size=100).map(io.BytesIO),
    st.binary(max_size=2000).map(lambda tar: io.BytesIO(gzip.compress(tar))),
)

# ------------------------------------------------------------------ what must not happen

_forbidden = False


def _notice(event: str, arguments: tuple[object, ...]) -> None:
    if _forbidden and (event.startswith(("os.", "shutil.", "subprocess.", "socket.")) or event == "open"):
        raise AssertionError(f"an archive has reached {event}{arguments!r}")


sys.addaudithook(_notice)


@contextmanager
def nothing_outside() -> Iterator[None]:
    """The block touches no file and takes little memory."""
    global _forbidden  # a hook cannot be taken away again
    tracemalloc.start()
    _forbidden = True
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    finally:
        _forbidden = False
        tracemalloc.stop()


@settings(deadline=None)
@given(ARCHIVES, st.sampled_from(["p", "p/a", ".", "q"]))
def test_an_archive_gives_files_of_its_folder_or_a_sentence(file: io.BytesIO, folder: str) -> None:
    with nothing_outside():
        try:
            archive = read_archive(file, folder, LIMITS)
        except ArchiveError:
            return
    check(archive)


def check(archive: Archive) -> None:
    assert sum(map(len, archive.tree.values())) <= LIMITS.folder
    assert len(archive.tree) <= LIMITS.files
    for name in archive.tree:
        path = PurePosixPath(name)
        assert not path.is_absolute()
        assert path.parts
        assert ".." not in path.parts
        assert name.isprintable()
        assert not any(str(parent) in archive.tree for parent in path.parents)
