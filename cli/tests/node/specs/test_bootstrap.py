from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from gatewright_cli.node.specs import bootstrap
from gatewright_cli.node.specs.bootstrap import BootstrapError


def test_fields_are_filled_in(tmp_path: Path) -> None:
    template = tmp_path / "bootstrap.yaml"
    template.write_text("# $$fields\nport: $port\nid: '${node_id}' # lds_config\n")
    filled = bootstrap.render(template, {"port": "1", "node_id": "n"})
    assert filled == "# $fields\nport: 1\nid: 'n' # lds_config\n"


def test_an_unknown_field_of_a_template(tmp_path: Path) -> None:
    template = tmp_path / "bootstrap.yaml"
    template.write_text("$port $colour")
    with pytest.raises(BootstrapError, match=r"unknown fields \$colour; known are \$engine_extension, \$host, \$port"):
        bootstrap.render(template, {"port": "1", "host": "h"})


def test_a_value_that_would_end_its_string(tmp_path: Path) -> None:
    template = tmp_path / "bootstrap.yaml"
    template.write_text('"$node_id"')
    with pytest.raises(BootstrapError, match="node_id must have no quote"):
        bootstrap.render(template, {"node_id": 'a"b'})


def test_the_checkouts_template_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(bootstrap.VARIABLE, raising=False)
    assert bootstrap.find().name == "bootstrap.yaml"


def test_a_template_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(bootstrap.VARIABLE, "/no/such/file")
    with pytest.raises(BootstrapError, match="not at /no/such/file: name it with --bootstrap"):
        bootstrap.find()


@pytest.mark.parametrize("field", ["$host", "${port}", "$access_log"])
def test_a_template_with_a_listener_of_the_gateway(tmp_path: Path, field: str) -> None:
    template = tmp_path / "bootstrap.yaml"
    template.write_text(f"lds_config: {field}")
    with pytest.raises(BootstrapError, match=r"listeners are no part of the bootstrap any more, write `lds_config"):
        bootstrap.render(template, {"node_id": "n"})


def test_a_template_that_never_asks_for_listeners(tmp_path: Path) -> None:
    template = tmp_path / "bootstrap.yaml"
    template.write_text("node: {id: $node_id}")
    with pytest.raises(BootstrapError, match=r"expected lds_config below dynamic_resources, got none: write `"):
        bootstrap.render(template, {"node_id": "n"})


ARGUMENTS = ("--in-envoy", "--gateway", '/a "quoted" ünï 😀 path\\', "--executor", "default=unix:/e.sock")


@pytest.mark.parametrize(
    "template",
    ["lds_config: {}\n", "lds_config: {}\nbootstrap_extensions: [{name: theirs}, $engine_extension]\n"],
)
def test_the_engine_inside_envoy_is_an_extension_with_its_arguments(tmp_path: Path, template: str) -> None:
    file = tmp_path / "bootstrap.yaml"
    file.write_text(template)
    document = yaml.safe_load(bootstrap.render(file, {}, bootstrap.engine_extension(ARGUMENTS)))
    extension = document["bootstrap_extensions"][-1]
    assert extension["name"] == "envoy.bootstrap.dynamic_modules"
    assert extension["typed_config"]["dynamic_module_config"] == {"name": "gatewright", "do_not_close": True}
    assert json.loads(extension["typed_config"]["extension_config"]["value"]) == [*ARGUMENTS]
    without = yaml.safe_load(bootstrap.render(file, {}))
    assert without.get("bootstrap_extensions", []) == document["bootstrap_extensions"][:-1]


def test_a_template_with_extensions_of_its_own_says_where_the_engine_goes(tmp_path: Path) -> None:
    file = tmp_path / "bootstrap.yaml"
    file.write_text("lds_config: {}\nbootstrap_extensions: [{name: theirs}]\n")
    with pytest.raises(
        BootstrapError, match=r"expected \$engine_extension in bootstrap_extensions, .* got none: write"
    ):
        bootstrap.render(file, {}, bootstrap.engine_extension(ARGUMENTS))
