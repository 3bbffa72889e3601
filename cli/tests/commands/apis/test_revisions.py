"""Against the real controller; no node is connected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from gatewright_cli.clients.controller_refusals import DeployError, InvalidError
from gatewright_cli.clients.management import Management
from gatewright_cli.commands.apis.applying import Target, load_unread
from gatewright_cli.commands.apis.planning import Ownership, apply_set
from gatewright_cli.commands.apis.revisions import Entry, Reference, diff, history, roll_back, table, try_roll_back
from gatewright_cli.mistakes import ExitStatus, PreflightError

from cli.tests.clients.test_management import API, with_controller, written

if TYPE_CHECKING:
    from cli.tests.conftest import Bench


@pytest.mark.parametrize(
    ("text", "path", "revision"),
    [
        ("orders", "/v1/apis/orders", None),
        ("orders@3", "/v1/apis/orders", 3),
        ("api/orders@-1", "/v1/apis/orders", -1),
        ("Gateway/gateway@0", "/v1/gateway", 0),
        ("gateway", "/v1/apis/gateway", None),
        ("secret/pay@2", "/v1/secrets/pay", 2),
    ],
)
def test_a_reference_names_a_resource_and_a_revision(text: str, path: str, revision: int | None) -> None:
    reference = Reference.parse(text)
    assert (reference.path, reference.revision) == (path, revision)


@pytest.mark.parametrize("text", ["", "@3", "orders@", "orders@x", "orders@3@4", "policy/x", "gateway/other", "a/b/c"])
def test_another_reference_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(
        PreflightError,
        match=r"of an API, consumer/NAME, defaults/NAME, namespace/NAME, nodegateway/NAME, plan/NAME, secret/NAME or "
        "gateway/gateway",
    ):
        Reference.parse(text)


def test_history_diff_and_rollback(bench: Bench) -> None:
    file = written(bench.folder, "one")
    reference = Reference.parse("one")

    async def work(management: Management) -> None:
        printed: list[str] = []
        target = Target(management)
        for method, reason in (("GET", "first"), ("POST", "second")):
            written(bench.folder, "one", API.replace("GET", method))
            management._terms = {"reason": reason, "owner": "team-a"}
            resources = Ownership.of(management._terms, prune=False).resources(target, load_unread([file], bytes))
            applied = await apply_set(target, resources, None, printed.append, printed.append)
            assert applied is ExitStatus.DONE
        entries = await history(management, reference, 20)
        found = [(entry.revision, entry.action, entry.owner, entry.reason) for entry in entries]
        assert found == [(2, "changed", "team-a", "second"), (1, "created", "team-a", "first")]
        assert await history(management, reference, 1) == entries[:1]
        lines = [*table(entries)]
        assert lines[0].split() == ["REVISION", "ACTION", "AT", "ACTOR", "ORIGIN", "OWNER", "REASON"]
        assert lines[1].endswith("team-a  second")
        assert "-    - method: GET\n+    - method: POST\n" in await diff(
            management, Reference.parse("one@1"), reference
        )
        printed.clear()
        await try_roll_back(target, Reference.parse("one@1"), printed.append)
        assert printed[0] == "one would be changed"
        assert "-    - method: POST\n+    - method: GET\n" in printed[1]
        printed.clear()
        for _ in range(2):
            rolled_back = await roll_back(target, Reference.parse("one@-1"), None, printed.append)
            assert rolled_back is ExitStatus.DONE
        assert printed == ["one rolled back to 1", "one rolled back to 2"], "each time the one before the newest"
        printed.clear()
        assert await roll_back(target, Reference.parse("one@2"), None, printed.append) is ExitStatus.DONE
        assert printed == ["one unchanged"]
        management._terms = {"owner": "team-b"}
        with pytest.raises(InvalidError, match="is owned by team-a"):
            await roll_back(target, Reference.parse("one@1"), None, printed.append)
        with pytest.raises(DeployError, match="there is no API none"):
            await history(management, Reference.parse("none"), 20)

    with_controller(bench, work)


def test_a_reason_does_not_reach_the_terminal_as_a_command() -> None:
    entry = Entry(1, "changed", "2026-11-30T12:00:00.000Z", "token", "127.0.0.1", "", "two\nlines and \x9b2J")
    assert list(table([entry]))[1].endswith(r"-      two lines and \x9b2J")
