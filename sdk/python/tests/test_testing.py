from pathlib import Path

import pytest

from sdk import testing


def test_a_policy_is_loaded_from_beside_its_test_or_from_above(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "tests").mkdir(parents=True)
        (tmp_path / name / "words.py").write_text(f"WORD = {name!r}\n")
        (tmp_path / name / "policy.py").write_text("from .words import WORD\n")
    one = testing.load_policy(str(tmp_path / "one" / "test_policy.py"))
    two = testing.load_policy(str(tmp_path / "two" / "tests" / "test_policy.py"))
    assert (one.WORD, two.WORD) == ("one", "two")


def test_a_policy_is_loaded_anew(tmp_path: Path) -> None:
    (tmp_path / "policy.py").write_text("seen = []\n")
    first = testing.load_policy(str(tmp_path / "test_policy.py"))
    first.seen.append(1)
    assert testing.load_policy(str(tmp_path / "test_policy.py")).seen == []


def test_no_policy_is_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected policy\.py beside"):
        testing.load_policy(str(tmp_path / "a" / "b" / "test_policy.py"))
