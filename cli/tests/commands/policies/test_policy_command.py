"""`gatewright policy`: each policy that ships, those of a build, and names that are misspelled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from gatewright_cli.commands.policies.known import find_policy, known_policies
from gatewright_cli.commands.policies.page import overview, page
from gatewright_cli.exchanges.paint import Paint
from gatewright_cli.main import cli
from gatewright_cli.mistakes import PreflightError

ROOT = Path(__file__).parents[4]
NAMES = sorted(path.parent.name for path in ROOT.glob("policies/*/policy-definition.yaml"))
GREET = """\
name: greet
version: {version}
runtime: python
description: "Greets [them](../x.md), as `it` is told:\\n  in a header. Not more.\\e[31m"
network: [names.internal:443]
files: {{read: [/etc/names]}}
processingMode: {{responseBodyMode: STREAM}}
parameters: {{type: object, properties: {{greeting: {{type: string, default: hello}}}}}}
"""


def says(*arguments: str) -> str:
    done = CliRunner().invoke(cli, ["policy", *arguments])
    assert done.exit_code == 0, done
    return done.output


def refusal(wanted: str, build: Path | None = None) -> str:
    with pytest.raises(PreflightError) as refused:
        find_policy(wanted, build)
    return str(refused.value)


def shipped(name: str, file: str = "policy-definition.yaml") -> Any:
    return yaml.safe_load((ROOT / "policies" / name / file).read_text())


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """A build output as far as it is read: greet in three versions, and cors as it ships."""
    folder = tmp_path / "policy-definitions"
    folder.mkdir()
    for version in ("v1.9.0", "v1.10.0", "v2.0.0"):
        (folder / f"greet-{version}.yaml").write_text(GREET.format(version=version))
    (folder / "cors-v1.0.0.yaml").write_bytes((ROOT / "policies" / "cors" / "policy-definition.yaml").read_bytes())
    return tmp_path


def test_each_policy_that_ships_is_listed_with_its_first_sentence() -> None:
    heading, *lines = says().splitlines()
    assert heading.split() == ["POLICY", "VERSION", "RUNTIME", "WHAT", "IT", "DOES"]
    assert [line.split()[0] for line in lines] == NAMES
    assert lines[NAMES.index("basic-auth")].split(None, 3)[1:] == [
        "v1.0.0", "Python", "Lets a request pass if its user and password are valid (RFC 7617).",
    ]  # fmt: skip
    listed = json.loads(says("--json"))
    assert [(policy["name"], policy["runtime"]) for policy in listed] == [
        (name, shipped(name)["runtime"]) for name in NAMES
    ]


def test_a_line_of_the_list_fits_the_terminal() -> None:
    lines = list(overview(known_policies(), Paint(width=60)))
    assert max(map(len, lines)) == 60
    assert len(lines) == len(NAMES) + 1


@pytest.mark.parametrize("name", NAMES)
def test_the_page_of_a_policy_has_all_of_it(name: str) -> None:
    document, text = shipped(name), says(name)
    lines = text.splitlines()
    assert lines[0] == f"{name} {document['version']}: {document['displayName']}"
    for key in document["parameters"].get("properties", {}):
        assert f"  {key}" in lines
    assert ("SYSTEM PARAMETERS" in lines) == ("systemParameters" in document)
    assert ("failures  end the request: onError: continue is refused" in lines) != document.get("allowContinue", True)
    assert "](.." not in text
    assert max(len(line) for line in text.partition("\nEXAMPLE")[0].splitlines()) <= 100
    for example in shipped(name, "example.yaml"):
        shown = text.partition(f"EXAMPLE: {example['title']}\n")[2].partition("\nEXAMPLE")[0]
        attached = yaml.safe_load(shown[shown.index("  policies:") :])
        assert attached == {"policies": example["attachments"]}
    assert json.loads(says(name, "--json")) == document


def test_the_words_of_a_page() -> None:
    text = says("audit-log")
    assert "\nsees      the request's headers, the response's headers\n" in text
    assert '\n  onFailure\n      one of refuse, continue; default "refuse"\n      What to do if the line' in text
    assert "\nSYSTEM PARAMETERS\n  The operator sets them, in systemParameters under audit-log.\n" in text
    text = says("jwt-auth")
    assert "\n  [] is each entry of a list, * each key of a map.\n" in text
    assert "\n  issuers[].issuer\n      string, 1 or more characters, at most 2048 characters; required\n" in text
    assert "\n  Replace $ISSUER by your own.\n" in text
    assert "\n  Together: at least one of users, htpasswd.\n" in says("basic-auth")


def test_a_build_has_ones_own_policies_too(build: Path) -> None:
    lines = says("--build", str(build)).splitlines()[1:]
    assert [line.split()[:2] for line in lines] == [
        ["cors", "v1.0.0"], ["greet", "v2.0.0"], ["greet", "v1.10.0"], ["greet", "v1.9.0"],
    ]  # fmt: skip
    assert lines[1].endswith("Python   Greets them, as `it` is told")
    text = says("greet", "--build", str(build))
    assert text.startswith("greet v2.0.0\n\nGreets them, as `it` is told: in a header. Not more.\\x1b[31m\n\n")
    assert "versions  v2.0.0, v1.10.0, v1.9.0\n" in text
    assert (
        "sees      the response's body, chunk by chunk\nnetwork   names.internal:443\nfiles     reads /etc/na" in text
    )
    assert '\n  greeting\n      string; default "hello"\n' in text
    assert "EXAMPLE" not in text
    assert "\nEXAMPLE: " in says("cors", "--build", str(build))


def test_an_example_is_that_of_the_very_policy_that_ships(build: Path) -> None:
    path = build / "policy-definitions" / "cors-v1.0.0.yaml"
    path.write_text(path.read_text().replace("displayName: CORS", "displayName: Mine"))
    found, _ = find_policy("cors", build)
    assert (found.definition.display_name, found.examples) == ("Mine", ())


@pytest.mark.parametrize(
    ("wanted", "version"),
    [("greet", "v2.0.0"), ("greet:v1", "v1.10.0"), ("greet:v1.9", "v1.9.0"), ("greet:v1.9.0", "v1.9.0")],
)
def test_a_version(wanted: str, version: str, build: Path) -> None:
    assert find_policy(wanted, build)[0].version == version


def test_unknown_names_and_versions_are_refused_with_the_known_ones(build: Path) -> None:
    own = "use --build build/stock for your own, once they are built"
    assert refusal("jwt-atuh") == f"NAME: expected a policy that ships, got 'jwt-atuh'; did you mean jwt-auth?; {own}"
    assert "; did you mean one of api-key-auth, basic-auth, hmac-auth, jwt-auth, mtls-auth?; " in refusal("auth")
    assert refusal("x") == f"NAME: expected a policy that ships, got 'x'; there are {', '.join(NAMES)}; {own}"
    expected = f"NAME: expected a policy of the build in {build}, got 'nothing'; there are cors, greet"
    assert refusal("nothing", build) == expected
    expected = "NAME: expected a version of greet, v2.0.0, v1.10.0 or v1.9.0, got 'v1.1'; write greet:v2.0.0, or greet"
    assert refusal("greet:v1.1", build).startswith(expected)


def test_an_invalid_build_is_refused_with_the_cure(build: Path) -> None:
    assert refusal("cors", build / "none").startswith(
        f"--build {build}/none: expected a build output with policy-definitions in it, got none; name the folder"
    )
    path = build / "policy-definitions" / "greet-v2.0.0.yaml"
    path.write_text("name: greet\nruntime: python\nprocessingMode: {requestHeaderMode: NEVER}\n")
    assert f"{path}:3: processingMode.requestHeaderMode: expected SKIP or PROCESS, got 'NEVER'" in refusal(
        "cors", build
    )


def test_headings_are_bold_on_a_terminal() -> None:
    found, versions = find_policy("cors")
    lines = list(page(found, versions, Paint(colours=True, width=200)))
    assert lines[0] == "\x1b[1mcors v1.0.0: CORS\x1b[0m"
    assert "\x1b[1mPARAMETERS\x1b[0m" in lines
