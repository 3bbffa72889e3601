from __future__ import annotations

from pathlib import Path

import pytest
from gatewright_cli.node import bootstrap
from gatewright_cli.node.bootstrap import BootstrapError


def test_fields_are_filled_in(tmp_path: Path) -> None:
    template = tmp_path / "bootstrap.yaml"
    template.write_text("# $$fields\nport: $port\nid: '${node_id}'\n")
    assert bootstrap.render(template, {"port": "1", "node_id": "n"}) == "# $fields\nport: 1\nid: 'n'\n"


def test_a_field_that_nobody_fills_in(tmp_path: Path) -> None:
    template = tmp_path / "bootstrap.yaml"
    template.write_text("$port $colour")
    with pytest.raises(BootstrapError, match=r"unknown fields \$colour; known are \$host, \$port"):
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


LISTENER = """
static_resources:
  listeners:
    - address: {socket_address: {address: "$host", port_value: PORT}}
      filter_chains: [{transport_socket: {name: envoy.transport_sockets.tls}, filters: []}]
"""


@pytest.mark.parametrize(
    ("text", "tls"),
    [
        (LISTENER.replace("PORT", "$port"), True),
        (LISTENER.replace("PORT", "${port}"), True),
        (LISTENER.replace("PORT", "9901"), False),
        (LISTENER.replace("PORT", "$port").replace("transport_socket", "name"), False),
        ("transport_socket: [", False),
        ("[transport_socket]", False),
    ],
)
def test_a_listener_that_speaks_tls(tmp_path: Path, text: str, tls: bool) -> None:
    (tmp_path / "bootstrap.yaml").write_text(text)
    assert bootstrap.speaks_tls(tmp_path / "bootstrap.yaml") is tls


def test_the_one_that_ships_speaks_no_tls() -> None:
    assert not bootstrap.speaks_tls(bootstrap.find())
