from __future__ import annotations

import json
from pathlib import Path

import yaml

from bench import rows
from bench.peers.envoy import BOOTSTRAP, LISTENER, bootstrap

ROOT = Path(rows.__file__).parent.parent
TEMPLATE, DEFAULT = (ROOT / BOOTSTRAP).read_text(), (ROOT / LISTENER).read_text()
GATEWAY = yaml.safe_load(TEMPLATE)
GATEWAY["static_resources"]["listeners"] = [json.loads(DEFAULT)]


def manager(bootstrap: object) -> dict[str, object]:
    """The HTTP connection manager's settings."""
    listener = json.loads(json.dumps(bootstrap))["static_resources"]["listeners"][0]
    return dict(listener["filter_chains"][0]["filters"][-1]["typed_config"])


def test_plain_envoy_has_the_gateways_settings_without_its_own_parts() -> None:
    ours = bootstrap(TEMPLATE, DEFAULT, 8081, "/plain", "127.0.0.1:9")
    assert "$" not in json.dumps(ours)
    for text in ("filters.http.ext_proc", "gatewright_xds", "ads", "rds"):
        assert text not in json.dumps(ours)
    actions = json.loads(json.dumps(ours))["overload_manager"]["actions"]
    assert actions == GATEWAY["overload_manager"]["actions"]
    changed, original = manager(ours), manager(GATEWAY)
    assert changed["local_reply_config"] == original["local_reply_config"]
    assert set(original) - set(changed) == {"rds", "early_header_mutation_extensions"}
    assert set(changed) - set(original) == {"route_config"}
    assert json.dumps(changed["http_filters"]).count('"name"') == 1


def test_envoy_sends_a_peer_only_headers() -> None:
    ours = bootstrap(TEMPLATE, DEFAULT, 8081, "/peer", "127.0.0.1:9", Path("/s/x.sock"))
    assert "$" not in json.dumps(ours)
    ext_proc, router = json.loads(json.dumps(manager(ours)["http_filters"]))
    assert router["name"] == "envoy.filters.http.router"
    assert "disabled" not in ext_proc
    assert "request_attributes" not in ext_proc["typed_config"]
    assert set(ext_proc["typed_config"]["processing_mode"].values()) == {"SEND", "SKIP"}, (
        "expected no mode that sends bodies"
    )
    assert [mode for mode, value in ext_proc["typed_config"]["processing_mode"].items() if value == "SEND"] == [
        "request_header_mode",
        "response_header_mode",
    ]
    assert [cluster["name"] for cluster in json.loads(json.dumps(ours))["static_resources"]["clusters"]] == [
        "upstream",
        "gatewright_policy_engine",
    ]
    assert '"/s/x.sock"' in json.dumps(ours)
