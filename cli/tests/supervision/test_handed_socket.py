from __future__ import annotations

import socket
import stat
from typing import TYPE_CHECKING

import pytest
from gatewright_cli.supervision.handed_socket import HandedSocket

if TYPE_CHECKING:
    from cli.tests.conftest import Bench


def test_it_has_its_name_once_it_is_opened_and_listens_before(bench: Bench) -> None:
    handed = HandedSocket(bench.folder / "one.sock")
    with handed.make() as made, socket.socket(socket.AF_UNIX) as early, socket.socket(socket.AF_UNIX) as late:
        assert not handed.path.exists()
        assert stat.S_IMODE(handed.early_path.stat().st_mode) == 0o600
        early.connect(str(handed.early_path))
        handed.open()
        assert not handed.early_path.exists()
        late.connect(str(handed.path))
        for client in (early, late):
            client.sendall(b"x")
            with made.accept()[0] as accepted:
                assert accepted.recv(1) == b"x"


def test_a_socket_that_cannot_be_made_leaves_nothing_open(bench: Bench) -> None:
    handed = HandedSocket(bench.folder / "one.sock")
    with handed.make(), pytest.raises(OSError, match="Address already in use"):
        handed.make()
