"""tools/reference.py: its pages have what the programs have."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from gatewright_cli.main import cli
from gatewright_controller.model import GatewaySpec
from gatewright_controller.model.settings_fields import settings_fields

ROOT = Path(__file__).resolve().parents[2]
ENGINES = ("admin", "metrics", "tracing", "logs", "redaction", "recording", "store")
"""Parts of a Gateway that the engine reads, and not Envoy."""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("reference")
    subprocess.run([sys.executable, str(ROOT / "tools" / "reference.py"), str(folder)], check=True, timeout=60)
    return {path.name: path.read_text() for path in folder.iterdir()}


def options(*command: str) -> set[str]:
    result = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True, timeout=60)
    return options_in(result.stdout)


def options_in(help_text: str) -> set[str]:
    options_text = re.split(r"^options:$", help_text, flags=re.MULTILINE | re.IGNORECASE)[1]
    return set(re.findall(r"^  (?:-\w, )?(--[\w-]+)", options_text, re.MULTILINE)) - {"--help"}


@pytest.mark.parametrize(
    "command",
    [
        "run",
        "build",
        "apply",
        "plan",
        "status",
        "tail",
        "explain",
        "record",
        "replay",
        "get",
        "delete",
        "wait",
        "context add",
        "context list",
        "reload",
        "backup",
        "init",
        "new policy",
        "schema",
    ],
)
def test_every_option_of_a_command_is_documented(pages: dict[str, str], command: str) -> None:
    section = pages["command-line.md"].partition(f"## gatewright {command}\n")[2].partition("\n## ")[0]
    assert section
    shown = CliRunner().invoke(cli, [*command.split(), "--help"])
    assert shown.exit_code == 0
    assert {option for option in options_in(shown.output) if f"`{option}`" not in section} == set()


def test_every_option_of_controller_and_executor_is_documented(pages: dict[str, str]) -> None:
    options_named = options(sys.executable, "-m", "gatewright_controller")
    assert len(options_named) >= 8
    options_named |= {"--workers", "--max-workers", "--hung-seconds", "--memory-limit"}
    assert {option for option in options_named if f"`{option}`" not in pages["processes.md"]} == set()


def test_every_flag_of_the_engine_is_documented(pages: dict[str, str]) -> None:
    sources = (ROOT / "gateway-runtime" / "policy-engine" / "engine").glob("*.go")
    flags = {flag for path in sources for flag in re.findall(r'flags\.\w*Var\([^"\n]*"([\w-]+)"', path.read_text())}
    assert len(flags) >= 15
    assert {flag for flag in flags if f"`--{flag}`" not in pages["processes.md"]} == set()


def test_every_field_of_a_pool_names_envoys_field(pages: dict[str, str]) -> None:
    rows = [line for line in pages["upstreams.md"].splitlines() if line.startswith("| `")]
    assert len(rows) > 50
    assert [row for row in rows if row.split(" | ")[-1].strip(" |").count("`") < 2] == []


def test_documents_and_counters_have_documented_keys(pages: dict[str, str]) -> None:
    for page, keys in {
        "api-definition.md": ("strictPaths", "maxConcurrency", "requestTimeout", "badBody"),
        "build-yaml.md": ("sdists", "pythonmodule", "group"),
        "policy-definition.md": ("requestBodyInResponse", "prepareTimeout", "network"),
        "controller-settings.md": ("allowedUpstreams", "tokenFile"),
        "statistics.md": ("exchanges", "heldBytes", "workersHung", "continued"),
    }.items():
        assert {key for key in keys if f"`{key}`" not in pages[page]} == set(), page


def test_every_field_of_a_gateway_has_its_meaning(pages: dict[str, str]) -> None:
    text = pages["gateway.md"]
    fields = list(settings_fields(GatewaySpec, ("spec",)))
    assert len(fields) >= 50
    sections = dict(section.split("\n", 1) for section in text.split("\n## ")[1:])
    for field in fields:
        section = sections[".".join(field.path[:-1]).replace(".[]", "[]")]
        (row,) = [line for line in section.splitlines() if line.startswith(f"| `{field.path[-1]}` |")]
        assert field.comment, field.path
        assert field.comment.replace("|", "\\|") in row
        own = field.path[1] in ENGINES
        assert field.kind != "value" or own or field.behind, f"{field.path}: expected Envoy's field behind it, got none"
        assert ("*Restart.*" in row) == field.restart
    assert {field.path[-1] for field in fields if field.restart} == {"connections", "memory"}
