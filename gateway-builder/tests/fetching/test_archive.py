"""An archive is read as if an attacker had made it: one folder's plain files, or a sentence."""

from __future__ import annotations

import gzip
import io
import tarfile
import time
from pathlib import PurePosixPath

import pytest
from gatewright_builder.fetching.archive import ArchiveError, Limits, read_archive
from hypothesis import given
from hypothesis import strategies as st

SMALL = Limits(packed=1 << 20, unpacked=1 << 20, files=50, folder=1 << 16)


Member = tuple[tarfile.TarInfo, bytes]


def member(name: str, content: bytes = b"x", kind: bytes = tarfile.REGTYPE, target: str = "") -> Member:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, len(content) if kind == tarfile.REGTYPE else 0
    return info, content


def packed(*members: Member, commit: str = "") -> io.BytesIO:
    file = io.BytesIO()
    headers = {"comment": commit} if commit else {}
    with tarfile.open(fileobj=file, mode="w:gz", format=tarfile.PAX_FORMAT, pax_headers=headers) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    file.seek(0)
    return file


def test_one_folder_is_read_and_the_rest_is_left() -> None:
    file = packed(
        member("repo-1/", kind=tarfile.DIRTYPE),
        member("repo-1/README.md"),
        member("repo-1/link", kind=tarfile.SYMTYPE, target="/etc/passwd"),
        member("repo-1/policies/limit/policy.py", b"pass\n"),
        member("repo-1/policies/limit/data/words.txt", b"words"),
        member("repo-1/policies/limited/policy.py"),
        commit="0123456789abcdef",
    )
    archive = read_archive(file, "policies/limit")
    assert archive.tree == {"policy.py": b"pass\n", "data/words.txt": b"words"}
    assert archive.commit == "0123456789abcdef"


def test_the_repository_itself_may_be_the_policy() -> None:
    assert read_archive(packed(member("repo-1/policy.py", b"pass\n")), ".").tree == {"policy.py": b"pass\n"}


@pytest.mark.parametrize(
    ("members", "got"),
    [
        ([member("/etc/cron.d/evil")], "'/etc/cron.d/evil'"),
        ([member("repo/../../evil")], "'repo/../../evil'"),
        ([member("repo/a/..\\evil")], "evil"),
        ([member("repo/a\nb")], "a\\nb"),
        ([member("repo/p/passwd", kind=tarfile.SYMTYPE, target="/etc/passwd")], "repo/p/passwd (a link)"),
        ([member("repo/p/here", kind=tarfile.SYMTYPE, target="policy.py")], "repo/p/here (a link)"),
        ([member("repo/p/hard", kind=tarfile.LNKTYPE, target="../../evil")], "repo/p/hard (a link)"),
        ([member("repo/p/pipe", kind=tarfile.FIFOTYPE)], "repo/p/pipe (neither file nor folder)"),
        ([member("repo/p/null", kind=tarfile.CHRTYPE)], "repo/p/null (neither file nor folder)"),
        ([member("repo/p/a"), member("other/p/a")], "other/p/a"),
        ([member("repo/p/a"), member("repo/p/a", b"y")], "a"),
        ([member("repo/p/a"), member("repo/p/a/b")], "a/b"),
        ([member("repo/p/a/b"), member("repo/p/a")], "a"),
        ([member(f"repo/{number}") for number in range(60)], "more"),
        ([member("repo/p/big", b"x" * 70_000)], "more"),
        ([member("repo/elsewhere", b"x" * (2 << 20))], "more"),
    ],
)
def test_an_attack_is_refused(members: list[Member], got: str) -> None:
    with pytest.raises(ArchiveError) as caught:
        read_archive(packed(*members), "p", SMALL)
    assert caught.value.got.endswith(got) or got in caught.value.got


def raw(*headers: bytes) -> io.BytesIO:
    """An archive of headers that no library writes."""
    return io.BytesIO(gzip.compress(b"".join(headers) + bytes(1024)))


def header(name: str, size: bytes, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A header with this text or number as its size."""
    info = tarfile.TarInfo(name)
    info.type = kind
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT)[:512])
    block[124:136] = size.ljust(12, b"\0")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


MINUS_A_BLOCK = b"\xff" * 10 + b"\xfe\x00"  # -512


@pytest.mark.parametrize("size", [MINUS_A_BLOCK, b"-1000"], ids=["binary", "octal"])
@pytest.mark.parametrize("name", ["repo/p/a", "repo/elsewhere"])
def test_a_size_below_zero_is_refused(size: bytes, name: str) -> None:
    """It would reduce the counted size of the folder, and seek backwards in the archive."""
    with pytest.raises(ArchiveError, match="expected sizes of at least 0 bytes, got repo/"):
        read_archive(raw(header(name, size), header("repo/p/b", b"0")), "p", SMALL)


def test_a_size_beyond_all_is_refused_at_once() -> None:
    """To skip it would take tarfile years."""
    with pytest.raises(ArchiveError, match="unpacked, got repo/elsewhere: 9,223,372"):
        read_archive(raw(header("repo/elsewhere", b"\x80" + bytes(3) + b"\x7f" + b"\xff" * 7)), "p", SMALL)


def test_a_size_beyond_all_beside_a_smaller_one_is_refused_at_once() -> None:
    """For a file with holes tarfile returns the unpacked size, and skips the size that the header announces."""
    info = tarfile.TarInfo("repo/elsewhere")
    info.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "0",
        "GNU.sparse.map": "0,0",
        "GNU.sparse.size": "9",
    }
    blocks = info.tobuf(tarfile.PAX_FORMAT)[:-512]
    huge = header("repo/elsewhere", b"\x80" + bytes(3) + b"\x7f" + b"\xff" * 7)
    with pytest.raises(ArchiveError, match="expected a whole gzipped tar archive, got its end in the middle of a file"):
        read_archive(raw(blocks, huge), "p", SMALL)


def test_a_size_below_zero_in_a_pax_header_is_refused() -> None:
    info = tarfile.TarInfo("repo/p/a")
    info.pax_headers = {"size": "-512"}
    with pytest.raises(ArchiveError, match="expected sizes of at least 0 bytes, got repo/p/a: -512"):
        read_archive(raw(info.tobuf(tarfile.PAX_FORMAT)), "p", SMALL)


def test_a_file_with_holes_is_refused() -> None:
    """Its size is what the header announces, whatever the archive holds."""
    info = tarfile.TarInfo("repo/p/a")
    info.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.map": "0,0", "GNU.sparse.size": "60000"}
    with pytest.raises(ArchiveError, match=r"repo/p/a \(neither file nor folder\)"):
        read_archive(raw(info.tobuf(tarfile.PAX_FORMAT)), "p", SMALL)


def test_headers_that_announce_headers_without_end_are_refused() -> None:
    with pytest.raises(ArchiveError, match="expected a whole gzipped tar archive"):
        read_archive(raw(*[header("repo/p/a", b"0", tarfile.XHDTYPE)] * 2_000), "p", Limits())


def test_a_path_without_end_is_refused() -> None:
    with pytest.raises(ArchiveError, match="expected paths of at most 1,024 characters, got 10,008"):
        read_archive(packed(member("repo/p/" + "a/" * 5_000 + "b")), "p")


def test_many_files_take_a_time_that_grows_with_their_number() -> None:
    many = packed(*(member(f"repo/p/{number % 100}/{number}", b"") for number in range(19_000)))
    began = time.process_time()
    assert len(read_archive(many, "p").tree) == 19_000
    assert time.process_time() - began < 20


def test_ten_gigabytes_of_nothing_stop_at_the_limit() -> None:
    info = tarfile.TarInfo("repo/p/zeros")
    info.size = 10 << 30
    zeros = gzip.compress(bytes(64 << 20), compresslevel=6)  # gzip files go on one after the other
    bomb = io.BytesIO(gzip.compress(info.tobuf(tarfile.GNU_FORMAT)) + zeros * 160)
    with pytest.raises(ArchiveError, match="at most 268,435,456 bytes, unpacked"):
        read_archive(bomb, "p")
    bomb.seek(0)
    with pytest.raises(ArchiveError, match="at most 268,435,456 bytes, unpacked"):
        read_archive(bomb, "elsewhere")
    assert bomb.tell() < len(bomb.getvalue()) / 10, "most of it was never unpacked"


def test_a_bomb_in_a_header_stops_at_the_limit() -> None:
    info = tarfile.TarInfo("repo/p/a")
    info.type, info.size = tarfile.XHDTYPE, 512 << 20
    bomb = io.BytesIO(gzip.compress(info.tobuf(tarfile.GNU_FORMAT)) + gzip.compress(bytes(4 << 20)))
    with pytest.raises(ArchiveError, match="unpacked"):
        read_archive(bomb, "p", SMALL)


CUT = packed(member("r/p/a", b"x" * 9999)).read()[:60]


@pytest.mark.parametrize(
    "content", [b"", b"<html>", gzip.compress(b"no tar"), CUT], ids=["nothing", "a page", "gzip of no tar", "cut"]
)
def test_what_is_no_archive_is_a_sentence(content: bytes) -> None:
    with pytest.raises(ArchiveError, match="expected a whole gzipped tar archive"):
        read_archive(io.BytesIO(content), "p", SMALL)


@given(st.lists(st.text("ab./\\~\0\n", min_size=1, max_size=12), min_size=1, max_size=5))
def test_no_name_leads_out_of_the_folder(names: list[str]) -> None:
    try:
        tree = read_archive(packed(*(member(name) for name in names)), "a", SMALL).tree
    except ArchiveError:
        return
    for name in tree:
        assert not PurePosixPath(name).is_absolute()
        assert not {"..", ""} & set(name.split("/"))
