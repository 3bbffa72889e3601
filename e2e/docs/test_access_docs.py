"""The commands of docs/how-to/access.md as they stand, but for the URL, in the page's order."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from e2e.docs.lone_controllers import Shell, lone_controller
from e2e.kit.gateway import api
from e2e.kit.markdown import blocks, page, section

PAGE = page("docs/how-to/access.md")
URL = "https://gateway.example:9443"
TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")


def shown_commands(heading: str) -> list[str]:
    return [line for block in blocks(section(PAGE, heading), "sh") for line in block.splitlines()]


def shown_output(heading: str) -> str:
    """The indented block of a section."""
    (block,) = re.findall(r"^(?:    .*\n)+", section(PAGE, heading), re.MULTILINE)
    return re.sub("^    ", "", block, flags=re.MULTILINE)


def without_times(text: str) -> str:
    return TIME.sub("TIME", text)


def test_the_shown_commands_work(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("p")  # short, for it holds a socket
    with lone_controller(folder) as url:
        shell = Shell(tmp_path, {URL: url})
        shell.run(f"gatewright context add boss --url {url} --token-file {folder}/production-token --use")
        payments, orders = (api(name, "http://127.0.0.1:9") for name in ("payments", "orders"))
        payments["metadata"]["labels"] = {"team": "payments"}
        for document in (payments, orders):
            (tmp_path / f"{document['metadata']['name']}.yaml").write_text(yaml.safe_dump(document))

        create, add, whoami, apply = shown_commands("A token for the CI of one team")
        shell.run(create)
        shell.run(add)
        assert (tmp_path / "ci-payments.token").stat().st_mode & 0o777 == 0o600
        assert shell.run(whoami) == shown_output("A token for the CI of one team").replace(URL, url)
        assert shell.run(apply) == "payments created\n"
        refused = shell.run(f"{apply.replace('payments.yaml', 'orders.yaml')} 2>&1", status=7)
        assert refused.endswith(shown_output("What a bound token sees"))

        create, move, whoami, delete, list_tokens = shown_commands("Replace a token before it expires")
        shell.run(create)
        shell.run(move)
        assert shell.run(whoami).startswith("token:ci-payments-2 at ")
        assert shell.run(delete) == "ci-payments deleted\n"
        table = shell.run(list_tokens)
        assert without_times(table) == without_times(shown_output("Replace a token before it expires"))

        newest, refusals, changes, export = shown_commands("The audit log")
        rows = [row for row in shell.run(newest).splitlines() if " refused " not in row]
        shown = shown_output("The audit log").splitlines()
        assert [re.split(" {2,}", without_times(row)) for row in rows] == [
            re.split(" {2,}", without_times(row)) for row in shown
        ]
        assert len(shell.run(refusals).splitlines()) == 2
        assert "    +  name: payments" in shell.run(changes)
        assert shell.run(export) == ""
        entries = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
        assert [entry["number"] for entry in entries] == [5, 4, 3, 2, 1]
        assert "gatewright_" not in (tmp_path / "audit.jsonl").read_text()
