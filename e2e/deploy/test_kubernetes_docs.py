"""docs/how-to/kubernetes.md and compose.md: the chart accepts their values, and their commands name what is there."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import jsonschema_rs
import pytest
import yaml

from e2e.kit.chart import CHART, RENDERS, VALUES, objects, pods
from e2e.kit.markdown import blocks, page
from e2e.kit.places import ROOT

TEXT = page("docs/how-to/kubernetes.md")
SAMPLES = [yaml.safe_load(block) for block in blocks(TEXT, "yaml")]


@pytest.mark.parametrize("sample", SAMPLES, ids=range(len(SAMPLES)))
def test_values_are_accepted(sample: dict[str, Any]) -> None:
    """By the schema. What only the templates check is in `make helm-test`, which renders files of values like these."""
    validator = jsonschema_rs.validator_for(json.loads((CHART / "values.schema.json").read_text()))
    if "gateway" in sample:
        assert sample["gateway"]["listeners"]
    assert [f"{error.instance_path}: {error.message}" for error in validator.iter_errors(sample)] == []


def test_the_values_of_gateway_api_are_accepted() -> None:
    values = yaml.safe_load(blocks(page("docs/how-to/gateway-api-running.md"), "yaml")[0])
    assert values["gatewayApi"]["enabled"]
    test_values_are_accepted(values)


def test_each_way_that_it_shows_is_rendered() -> None:
    """The values of a sample are those of a file of values, so that Helm renders what the page shows."""
    rendered = [yaml.safe_load(file.read_text()) for file in VALUES]

    def paths(values: Any, at: str = "") -> set[str]:
        if not isinstance(values, dict) or not values:
            return {at}
        return {path for key, value in values.items() for path in paths(value, f"{at}.{key}")}

    known = {path for values in rendered for path in paths(values)}
    known |= {"".join(f".{part}" for part in path.split(".")[1:][: depth + 1]) for path in known for depth in range(9)}
    shown = {re.sub(r"(\.files|\.labels)\..*", r"\1", path) for sample in SAMPLES for path in paths(sample)}
    assert shown - known <= {".image.tag", ".gateway.certificates.shop.certificateFile"}


def test_commands_make_the_secrets_that_the_values_name() -> None:
    made: dict[str, set[str]] = {}
    for line in "\n".join(blocks(TEXT, "sh")).splitlines():
        words = shlex.split(line)
        if words[:1] == ["kubectl"] and "secret" in words:
            data_keys = {word.split("=")[1] for word in words if word.startswith(("--from-literal=", "--from-file="))}
            made[words[words.index("generic") + 1]] = data_keys
    assert made == {
        "gatewright-tokens": {"token", "node-token"},
        "gatewright-tls": {"tls.crt", "tls.key", "ca.crt"},
        "gatewright-database": {"url"},
    }
    (controller,) = [pod for component, pod in pods(RENDERS / "postgresql.yaml") if component == "controller"]
    for volume in controller["spec"]["volumes"]:
        secret = volume.get("secret", {})
        if keys := made.get(secret.get("secretName", "")):
            assert {item["key"] for item in secret.get("items", ())} <= keys
    services = {item["metadata"]["name"] for item in objects(RENDERS / "minimal.yaml", "Service")}
    assert "gateway-gatewright-controller" in services, "whom the certificate is for"


def test_what_the_pages_name_is_there() -> None:
    for command in re.findall(r"helm (?:install|upgrade) gateway (\S+)", TEXT):
        assert (ROOT / command / "Chart.yaml").is_file()
    for file in re.findall(r"docker build -f (\S+)", TEXT):
        assert (ROOT / file).is_file()
    assert "AS build\n" in page("gateway-runtime/Dockerfile"), "the stage that the page builds"
    assert "./secrets.sh" in blocks(page("docs/how-to/compose.md"), "sh")[0]
