"""Three versions of an API, their history, and the way back: by the commands, with a gateway that serves meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import postgresql_server
import pytest
import yaml

from e2e.kit.gateway import Gateway, api, attach, running
from e2e.kit.upstream import Upstream

pytestmark = pytest.mark.timeout(300)


def gatewright(gateway: Gateway, *arguments: str, text: str = "") -> str:
    """What the command prints."""
    command = ["gatewright", *arguments, "--run-dir", str(gateway.run_dir)]
    result = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout


def marked(gateway: Gateway, upstream: Upstream) -> str:
    """Which version of the API has served a request."""
    upstream.reset()
    assert httpx.get(f"{gateway.url}/remembered/x").status_code == 200
    (received,) = upstream.received
    return next(word for word in ("first", "second", "third") if word in str(received.headers))


def apply_three_versions(gateway: Gateway, upstream: Upstream) -> None:
    for word in ("first", "second", "third"):
        document = yaml.safe_dump(api("remembered", upstream.url, [attach("mark", {"name": word})]))
        options = ["--reason", f"the {word} version", "--owner", "rememberers"]
        gatewright(gateway, "apply", "-f", "-", *options, text=document)
        assert marked(gateway, upstream) == word


def test_the_gateway_serves_the_version_that_is_rolled_back_to(gateway: Gateway, upstream: Upstream) -> None:
    apply_three_versions(gateway, upstream)
    entries = json.loads(gatewright(gateway, "history", "remembered", "-o", "json"))
    assert [(found["action"], found["actor"], found["origin"], found["owner"]) for found in entries] == [
        ("changed", "token", "127.0.0.1", "rememberers"),
        ("changed", "token", "127.0.0.1", "rememberers"),
        ("created", "token", "127.0.0.1", "rememberers"),
    ]
    assert [found["reason"] for found in entries] == [f"the {word} version" for word in ("third", "second", "first")]
    assert entries == sorted(entries, key=lambda found: (found["revision"], found["at"]), reverse=True)
    third, second, first = (found["revision"] for found in entries)
    table = gatewright(gateway, "history", "remembered").splitlines()
    assert table[0].split() == ["REVISION", "ACTION", "AT", "ACTOR", "ORIGIN", "OWNER", "REASON"]
    assert table[1].split()[:2] == [str(third), "changed"]
    assert table[1].endswith("rememberers  the third version")
    diff = gatewright(gateway, "diff", f"remembered@{first}", f"remembered@{third}")
    assert diff.startswith(f"--- remembered@{first}\n+++ remembered@{third}\n")
    assert "first" in next(line for line in diff.splitlines()[2:] if line.startswith("-"))
    tried = gatewright(gateway, "rollback", f"remembered@{first}", "--dry-run")
    assert tried.startswith("remembered would be changed\n")
    assert marked(gateway, upstream) == "third"
    done = gatewright(gateway, "rollback", f"remembered@{first}", "--reason", "the third is wrong")
    assert done == f"remembered rolled back to {first}, deployed\n"
    assert marked(gateway, upstream) == "first"
    newest = json.loads(gatewright(gateway, "history", "remembered", "-o", "json", "--limit", "1"))[0]
    assert (newest["action"], newest["from"], newest["reason"]) == (
        "rolledBack", f"remembered@{first}", "the third is wrong",
    )  # fmt: skip
    with gateway.controller() as client:
        client.delete("/v1/apis/remembered", params={"wait": "10"})
    assert httpx.get(f"{gateway.url}/remembered/x").status_code == 404
    gatewright(gateway, "rollback", f"remembered@{second}")
    assert marked(gateway, upstream) == "second"
    refused = subprocess.run(
        ["gatewright", "rollback", "remembered@999999", "--run-dir", str(gateway.run_dir)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert refused.returncode == 3
    assert "has no revision 999999" in refused.stderr


@pytest.fixture
def database() -> Iterator[postgresql_server.Server]:
    with postgresql_server.server() as server:
        yield server


@pytest.mark.slow("a PostgreSQL and two gateways are started")
def test_a_gateway_keeps_all_of_it_in_a_postgresql(
    build: Path, tmp_path: Path, database: postgresql_server.Server, upstream: Upstream
) -> None:
    """Its state directory is lost meanwhile, and what the database has moves into a file, and into a SQLite."""
    url = tmp_path / "url"
    url.write_text(f"{database.url}\n")
    variable = f"GATEWRIGHT_CONTROLLER_DATABASE_FILE={url}"
    with running(build, tmp_path / "one", within=["env", variable]) as gateway:
        apply_three_versions(gateway, upstream)
        assert not (tmp_path / "one" / "controller.db").exists()
    with running(build, tmp_path / "two", within=["env", variable]) as gateway:
        assert marked(gateway, upstream) == "third"
        (_, _, first) = json.loads(gatewright(gateway, "history", "remembered", "-o", "json"))
        gatewright(gateway, "rollback", f"remembered@{first['revision']}")
        assert marked(gateway, upstream) == "first"
        assert postgresql_server.PASSWORD not in "".join(gateway.log)
    environment = {**os.environ, variable.partition("=")[0]: str(url)}
    backup = ["gatewright", "backup", str(tmp_path / "backup.db")]
    result = subprocess.run(backup, env=environment, capture_output=True, text=True, check=True, timeout=120)
    assert result.stdout.startswith("1 API in ")
    (tmp_path / "three").mkdir(mode=0o700)
    restore = ["gatewright", "restore", str(tmp_path / "backup.db"), "--state-dir", str(tmp_path / "three")]
    subprocess.run(restore, capture_output=True, text=True, check=True, timeout=120)
    with running(build, tmp_path / "three") as gateway:
        assert marked(gateway, upstream) == "first"
        assert len(json.loads(gatewright(gateway, "history", "remembered", "-o", "json"))) == 4
