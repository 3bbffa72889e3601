from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sdk import testing
from sdk.policy import ImmediateResponse, UpstreamRequestModifications

policy = testing.load_policy(__file__)
PARAMS = testing.params(file="plans.db", header="x-tenant")


def write(path: Path, **plans: str) -> None:
    """A whole file, in the place of the one that there is."""
    new = path.with_suffix(".new")
    with sqlite3.connect(new) as connection:
        connection.execute("CREATE TABLE plans (tenant TEXT PRIMARY KEY, plan TEXT NOT NULL)")
        connection.executemany("INSERT INTO plans VALUES (?, ?)", plans.items())
    connection.close()
    new.replace(path)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(policy, "FOLDER", str(tmp_path))
    return tmp_path / "plans.db"


def answer(lookup: object, *tenants: str) -> object:
    headers = [("x-tenant", tenant) for tenant in tenants]
    return policy.on_request(testing.request(headers=headers, prepared=lookup), PARAMS)


def test_a_tenant_has_its_plan_and_others_are_refused(file: Path) -> None:
    write(file, blue="gold")
    with testing.prepared(policy, PARAMS) as lookup:
        assert answer(lookup, "blue") == UpstreamRequestModifications(set_headers={"x-plan": "gold"})
        assert answer(lookup, "green") == ImmediateResponse(403)
        assert answer(lookup) == answer(lookup, "blue", "blue") == ImmediateResponse(400, body=b"which tenant?")
        assert answer(lookup, "' OR 1=1 --") == ImmediateResponse(403)


def test_a_file_in_the_place_of_the_one_before_is_read_within_a_second(file: Path) -> None:
    write(file, blue="gold")
    with testing.clock() as clock, testing.prepared(policy, PARAMS) as lookup:
        write(file, blue="silver")
        assert answer(lookup, "blue") == UpstreamRequestModifications(set_headers={"x-plan": "gold"})
        clock.advance(1.1)
        assert answer(lookup, "blue") == UpstreamRequestModifications(set_headers={"x-plan": "silver"})
        file.unlink()
        clock.advance(1.1)
        assert answer(lookup, "blue") == UpstreamRequestModifications(set_headers={"x-plan": "silver"})


def test_without_the_file_or_its_table_it_is_not_ready(file: Path) -> None:
    with pytest.raises(OSError, match="No such file"), testing.prepared(policy, PARAMS):
        pass
    sqlite3.connect(file).close()
    with pytest.raises(sqlite3.OperationalError, match="no such table"), testing.prepared(policy, PARAMS):
        pass
