"""`gatewright plan` and `apply --plan` against a gateway that runs, while clients ask all the time."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from e2e.kit.commands import apply, command
from e2e.kit.gateway import Gateway, Json, api, attach, eventually, running
from e2e.kit.policy_project import PolicyProject
from e2e.kit.traffic import traffic
from e2e.kit.upstream import Recorded, Reply, Upstream

OWNER, OTHER = "plans/team-a", "plans/team-b"
ALL = ("orders", "payments", "theirs", "purchases", "left", "right")
PREPARES_LONG = """\
import urllib.request

def prepare(params):
    urllib.request.urlopen(params["url"], timeout=60).read()

def on_request(ctx, params):
    return None

def on_response(ctx, params):
    return None
"""


@pytest.fixture(autouse=True)
def _nothing_is_left(gateway: Gateway) -> Iterator[None]:
    yield
    with gateway.controller() as client:
        for name in ALL:
            client.delete(f"/v1/apis/{name}", params={"wait": "10"})


def write(folder: Path, *definitions: Json) -> Path:
    """The folder with these APIs, a file each, and no other."""
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for definition in definitions:
        (folder / f"{definition['metadata']['name']}.yaml").write_text(yaml.safe_dump(definition, sort_keys=False))
    return folder


def plan(gateway: Gateway, *arguments: str) -> subprocess.CompletedProcess[str]:
    words = command(gateway, "plan", *arguments)
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


def names(gateway: Gateway) -> set[str]:
    with gateway.controller() as client:
        return {stored["metadata"]["name"] for stored in client.get("/v1/apis").json()["apis"]} & set(ALL)


def test_a_plan_is_reviewed_and_applied_exactly(gateway: Gateway, upstream: Upstream, tmp_path: Path) -> None:
    folder, kept = write(tmp_path / "apis", api("orders", upstream.url)), tmp_path / "plan.json"
    planned = plan(gateway, "-f", str(folder), "--owner", OWNER, "-o", str(kept), "--exit-code")
    assert (planned.returncode, planned.stdout.splitlines()) == (
        2,
        [
            "add orders",
            "  requests below /orders on * are served by orders, got 404",
            f"  GET /orders/*, POST /orders/* on * goes to {upstream.url}",
            "1 to add, 0 unchanged",
        ],
    )
    assert names(gateway) == set()
    assert kept.stat().st_mode & 0o777 == 0o600
    applied = apply(gateway, "--plan", str(kept))
    assert (applied.returncode, applied.stdout) == (0, "orders created, deployed\n"), applied.stderr
    assert httpx.get(f"{gateway.url}/orders/x").status_code == 200
    again = plan(gateway, "-f", str(folder), "--owner", OWNER, "--exit-code")
    assert (again.returncode, again.stdout) == (0, "nothing to do, 1 unchanged\n")


def test_a_plan_is_refused_once_the_world_has_moved(gateway: Gateway, upstream: Upstream, tmp_path: Path) -> None:
    orders, kept = api("orders", upstream.url), tmp_path / "plan.json"
    gateway.deploy(orders)
    orders["spec"]["policies"] = [attach("mark", {"name": "mine"})]
    folder = write(tmp_path / "apis", orders, api("payments", upstream.url))
    assert plan(gateway, "-f", str(folder), "-o", str(kept)).returncode == 0
    orders["spec"]["policies"] = [attach("mark", {"name": "theirs"})]
    gateway.deploy(orders)
    refused = apply(gateway, "--plan", str(kept))
    assert (refused.returncode, refused.stdout) == (4, "")
    assert "the API orders was written since" in refused.stderr
    assert "it was: change orders (revision " in refused.stderr
    assert "it is now: change orders (revision " in refused.stderr
    assert names(gateway) == {"orders"}
    upstream.reset()
    httpx.get(f"{gateway.url}/orders/x")
    assert "theirs" in str(upstream.received[0].headers)


def test_all_files_are_applied_or_none(gateway: Gateway, upstream: Upstream, tmp_path: Path) -> None:
    folder = write(tmp_path / "apis", api("orders", upstream.url), api("payments", upstream.url, [attach("no-such")]))
    refused = apply(gateway, "-f", str(folder))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.splitlines()[1].startswith(f"{folder}/payments.yaml:")
    assert names(gateway) == set()


def test_prune_leaves_what_others_own(gateway: Gateway, upstream: Upstream, tmp_path: Path) -> None:
    orders, payments = api("orders", upstream.url), api("payments", upstream.url)
    mine = write(tmp_path / "mine", orders, payments)
    theirs = write(tmp_path / "theirs", api("theirs", upstream.url))
    assert apply(gateway, "-f", str(mine), "--owner", OWNER).returncode == 0
    assert apply(gateway, "-f", str(theirs), "--owner", OTHER).returncode == 0
    gateway.deploy(api("left", upstream.url))
    taken = apply(gateway, "-f", str(theirs), "--owner", OWNER)
    assert (taken.returncode, taken.stdout) == (4, "")
    assert f"theirs is {OTHER}'s" in taken.stderr
    write(mine, orders)
    pruned = apply(gateway, "-f", str(mine), "--owner", OWNER, "--prune", "--reason", "payments are elsewhere")
    assert (pruned.returncode, pruned.stdout) == (0, "orders unchanged, deployed\npayments deleted\n")
    assert names(gateway) == {"orders", "theirs", "left"}
    assert httpx.get(f"{gateway.url}/payments/x").status_code == 404


def test_two_contexts_are_swapped_without_a_failed_request(
    gateway: Gateway, upstream: Upstream, tmp_path: Path
) -> None:
    left, right = api("left", f"{upstream.url}/to-left"), api("right", f"{upstream.url}/to-right")
    folder = write(tmp_path / "apis", left, right)
    assert apply(gateway, "-f", str(folder)).returncode == 0
    left["spec"]["context"], right["spec"]["context"] = "/right", "/left"
    write(folder, left, right)
    with traffic(f"{gateway.url}/left/x", f"{gateway.url}/right/x") as flows:
        for flow in flows:
            flow.wait_for(20)
        swapped = apply(gateway, "-f", str(folder))
        for flow in flows:
            flow.wait_for_each()
    assert (swapped.returncode, swapped.stdout) == (0, "left moved, deployed\nright moved, deployed\n")
    assert [flow.counts().keys() for flow in flows] == [{200}, {200}], [flow.problems[:3] for flow in flows]
    upstream.reset()
    httpx.get(f"{gateway.url}/left/x")
    assert upstream.received[0].target.startswith("/to-right")


@pytest.mark.timeout(600)  # a gateway is built, whose engine may have to be compiled
def test_a_rename_answers_every_request_however_long_the_new_one_prepares(tmp_path: Path, upstream: Upstream) -> None:
    project = PolicyProject(tmp_path, "e2e-plans")
    project.write_policy("prepares-long", PREPARES_LONG)
    asked, released = threading.Event(), threading.Event()
    folder = tmp_path / "apis"

    def with_name(name: str, policies: list[Json]) -> Json:
        definition = api(name, upstream.url, policies)
        definition["spec"]["context"] = "/orders"
        return definition

    write(folder, with_name("orders", []))
    with Upstream() as slow, running(None, tmp_path / "state", *project.arguments) as gateway:
        slow.reply = _held(asked, released)
        options = ("-f", str(folder), "--owner", OWNER, "--prune")
        assert apply(gateway, *options).returncode == 0
        write(folder, with_name("purchases", [attach("prepares-long", {"url": slow.url})]))
        planned = plan(gateway, *options)
        assert planned.stdout.startswith("rename orders → purchases (revision "), planned.stdout + planned.stderr
        with traffic(f"{gateway.url}/orders/x") as (flow,):
            flow.wait_for(20)
            renamed = apply(gateway, *options, "--no-wait")
            assert (renamed.returncode, renamed.stdout) == (0, "purchases renamed from orders\n"), renamed.stderr
            assert asked.wait(30)
            flow.wait_for(60)
            assert _state(gateway, "purchases") == "pending"
            released.set()
            eventually("it is deployed", lambda: _state(gateway, "purchases") == "deployed")
            eventually("the old one has gone", lambda: set(_clusters(gateway)) == {"purchases"})
            flow.wait_for(20)
        assert flow.counts().keys() == {200}, flow.problems[:3]


def _held(asked: threading.Event, released: threading.Event) -> Callable[[Recorded], Reply]:
    """Answers once it is released."""

    def reply(_: Recorded) -> Reply:
        asked.set()
        released.wait(30)
        return Reply(200)

    return reply


def _state(gateway: Gateway, name: str) -> str:
    with gateway.controller() as client:
        return str(client.get(f"/v1/apis/{name}/status").json()["state"])


def _clusters(gateway: Gateway) -> Json:
    """The engine's, by API."""
    clusters: Json = json.loads(gateway.admin("engine", "/clusters"))
    return clusters
