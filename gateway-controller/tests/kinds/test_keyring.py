"""Values at rest: which key encrypts, which decrypt, and what is said where none does."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from gatewright_controller.kinds.keyring import Keyring, NoKeyError, WrongKeyError, parse_keys
from gatewright_documents.mistake import Invalid

OLD, NEW = "11" * 32, base64.b64encode(b"\x22" * 32).decode()


def test_the_first_key_encrypts_and_all_decrypt() -> None:
    old, both, new = Keyring(OLD), Keyring(f"{NEW}\n{OLD}"), Keyring(NEW)
    sealed = old.encrypt("hunter2", "pay/key")
    assert both.decrypt(sealed, "pay/key") == "hunter2"
    assert (old.is_newest(sealed), both.is_newest(sealed)) == (True, False)
    again = both.encrypt("hunter2", "pay/key")
    assert new.decrypt(again, "pay/key") == "hunter2"
    assert "hunter2" not in sealed
    assert both.encrypt("hunter2", "pay/key") != again, "the same value looks different each time"


@pytest.mark.parametrize("value", ["x", "ü\0\n", "a" * 65536])
def test_any_text_comes_back(value: str) -> None:
    keyring = Keyring(OLD)
    assert keyring.decrypt(keyring.encrypt(value, "a/b"), "a/b") == value


def test_a_value_decrypts_at_its_place_alone() -> None:
    keyring = Keyring(OLD)
    sealed = keyring.encrypt("hunter2", "pay/key")
    for place in ("pay/other", "other/key"):
        with pytest.raises(WrongKeyError, match="was changed in the database, or brought from another place"):
            keyring.decrypt(sealed, place)
    spoilt = sealed[:-8] + ("A" if sealed[-8] != "A" else "B") + sealed[-7:]
    with pytest.raises(WrongKeyError):
        keyring.decrypt(spoilt, "pay/key")


def test_a_key_that_is_not_there_is_named() -> None:
    sealed = Keyring(OLD).encrypt("hunter2", "pay/key")
    key_id = sealed.partition(":")[0]
    with pytest.raises(WrongKeyError, match=f"expected the key {key_id}, which encrypted it, got none"):
        Keyring().decrypt(sealed, "pay/key")
    with pytest.raises(NoKeyError):
        Keyring().encrypt("hunter2", "pay/key")


def test_a_file_is_read_again_for_another_key(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(OLD)
    keyring = Keyring(file=file)
    sealed = Keyring(NEW).encrypt("hunter2", "pay/key")
    with pytest.raises(WrongKeyError):
        keyring.decrypt(sealed, "pay/key")
    file.write_text(f"{NEW}\n{OLD}\n")
    assert keyring.decrypt(sealed, "pay/key") == "hunter2"
    file.write_text("spoilt")
    with pytest.raises(Invalid):
        keyring.reread()
    assert keyring.decrypt(sealed, "pay/key") == "hunter2", "the keys stay"


@pytest.mark.parametrize("text", ["short", OLD[:-2], f"{OLD} x", "z" * 64, base64.b64encode(b"x" * 31).decode()])
def test_what_is_no_key_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(Invalid, match="32 bytes as base64 or hex") as refused:
        parse_keys(text)
    assert text not in str(refused.value)


def test_a_file_without_a_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for name in ("empty", "absent"):
        with pytest.raises(Invalid, match="secretKeyFile: expected a file with a key"):
            Keyring(file=tmp_path / name)


def test_a_digest_is_of_the_values_and_the_key() -> None:
    keyring = Keyring(OLD)
    digest = keyring.digest({"a": "x", "b": "y"})
    assert digest == Keyring(f"{OLD} {NEW}").digest({"b": "y", "a": "x"})
    assert digest not in (keyring.digest({"a": "x"}), Keyring(NEW).digest({"a": "x", "b": "y"}))
