"""An archive is read as if an enemy had made it: one folder's plain files, or a sentence."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import PurePosixPath

import pytest
from gatewright_builder.archive import ArchiveError, Limits, read_archive
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


@pytest.mark.timeout(60)
def test_ten_gigabytes_of_nothing_stop_at_the_limit() -> None:
    info = tarfile.TarInfo("repo/p/zeros")
    info.size = 10 << 30
    zeros = gzip.compress(bytes(64 << 20), compresslevel=6)  # gzip files go on one after the other
    bomb = io.BytesIO(gzip.compress(info.tobuf(tarfile.GNU_FORMAT)) + zeros * 160)
    with pytest.raises(ArchiveError, match="at most 33,554,432 bytes in p"):
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


@pytest.mark.parametrize("content", [b"", b"<html>", gzip.compress(b"no tar"), CUT])
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
