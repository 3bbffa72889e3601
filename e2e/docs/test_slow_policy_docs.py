"""docs/how-to/which-policy-is-slow.md, followed: a gateway with the policy that it shows, and every command of it."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from e2e.kit.gateway import Json, api, attach, running
from e2e.kit.listening import free_port, write
from e2e.kit.markdown import blocks, page, section
from e2e.kit.pebble import program
from e2e.kit.policy_project import PolicyProject
from e2e.kit.prometheus import deployed
from e2e.kit.prometheus.server import Prometheus, prometheus, wait_for
from e2e.kit.traffic import traffic
from e2e.kit.upstream import Upstream

pytestmark = pytest.mark.timeout(1800)  # where Prometheus has to be compiled first
PAGE = page("docs/how-to/which-policy-is-slow.md")
(POLICY,) = blocks(PAGE, "python")
SECONDS = 0.3
LOOK_UP = f"\ndef look_up(tenant):\n    import time\n    time.sleep({SECONDS})\n    return 'gold'\n"
NEITHER = "\ndef on_response(ctx, params):\n    return None\n"
QUICK = "def on_request(ctx, params):\n    return None\n" + NEITHER
SLOW = "directory:v1.0.0"


@dataclass(frozen=True)
class Walkthrough:
    """A gateway under load, and the Prometheus that scrapes it."""

    prometheus: Prometheus
    admin: str

    def answer(self, command: str) -> str:
        """The output of a command of the page, with this test's ports."""
        command = command.replace("127.0.0.1:9901", self.admin).replace("http://127.0.0.1:9095", self.prometheus.url)
        command = re.sub(r"^promtool ", f"{shlex.quote(program('promtool'))} ", command)
        result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=30)
        assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"
        return result.stdout


@pytest.fixture(scope="module")
def walkthrough(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walkthrough]:
    folder = tmp_path_factory.mktemp("slow")
    project = PolicyProject(folder, "e2e-slow-policy")
    project.write_policy("directory", POLICY + LOOK_UP + NEITHER)
    project.write_policy("quick", QUICK)
    admin = free_port()
    file = write(folder / "gateway.yaml", {"name": "http", "port": free_port()}, admin={"port": admin})
    options = ("--gateway", str(file), "--access-log", "/dev/null")
    with Upstream() as upstream, running(None, folder / "state", *project.arguments, *options) as gateway:
        gateway.deploy(api("shop", upstream.url, [attach("quick"), attach("directory")]))
        gateway.deploy(api("other", upstream.url, [attach("quick")]))
        config = deployed.configuration(folder, f"127.0.0.1:{admin}")
        with prometheus(folder, config) as server:
            urls = [f"{gateway.url}/{name}/x" for name in ("shop", "other")]
            with traffic(*urls, clients=1, pause=0.05):
                wait_for_rules(server)
                yield Walkthrough(server, f"127.0.0.1:{admin}")


def wait_for_rules(server: Prometheus) -> None:
    """Waits for all recordings of the rules about executions and exchanges: of three attachments and two APIs."""
    for rule in deployed.recordings():
        count = 2 if "exchange" in rule["record"] else 3
        if "failures" not in rule["record"]:
            wait_for(server, rule["record"], count)

    wait_for(server, "rate(envoy_cluster_upstream_rq_time_count[5m]) > 0", 1)  # Envoy adds these up every 5 s


def commands(heading: str) -> list[str]:
    return [block.strip() for block in blocks(section(PAGE, heading), "sh")]


def parse_samples(answer: str) -> list[tuple[Json, float]]:
    """Labels and value of each line of promtool's, in its order."""
    matches = re.findall(r"^(?:[\w:]+)?\{(.*)\} => (\S+) @", answer, re.MULTILINE)
    return [(dict(re.findall(r'(\w+)="([^"]*)"', labels)), float(value)) for labels, value in matches]


def test_the_node_reports_the_work_of_each_policy(walkthrough: Walkthrough) -> None:
    (command,) = blocks(PAGE.split("\n## ")[0], "sh")
    lines = walkthrough.answer(command.strip()).splitlines()
    seconds = {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines}
    assert len(seconds) >= 3
    assert SLOW in max(seconds, key=lambda line: seconds[line])


def test_the_upstream_is_not_slow(walkthrough: Walkthrough) -> None:
    exchanges, upstream = (walkthrough.answer(command) for command in commands("Is it a policy at all?"))
    slow = {labels["api"]: value for labels, value in parse_samples(exchanges)}
    assert slow.keys() == {"shop", "other"}
    assert slow["shop"] > SECONDS
    ((labels, milliseconds),) = parse_samples(upstream)
    assert labels["envoy_cluster_name"].startswith("127-0-0-1")
    assert 0 < milliseconds < slow["shop"] * 1000


def test_the_slow_policy_is_the_first_of_each_list(walkthrough: Walkthrough) -> None:
    answers = [parse_samples(walkthrough.answer(command)) for command in commands("Which one?")]
    assert len(answers) == 3
    for answer in answers:
        assert len(answer) >= 2
        assert answer[0][0]["policy"] == SLOW
    assert answers[1][0][1] > SECONDS
    assert (answers[2][0][0]["phase"], answers[2][0][0]["operation"]) == ("request", "GET /*")


def test_work_and_waiting_are_distinguished(walkthrough: Walkthrough) -> None:
    waiting, p50 = (
        parse_samples(walkthrough.answer(command)) for command in commands("Does it work, or does it wait?")
    )
    assert {labels["policy"] for labels, _ in waiting} == {SLOW, "quick:v1.0.0"}
    (half,) = [value for labels, value in p50 if (labels["policy"], labels["phase"]) == (SLOW, "request")]
    assert half > 0.1


def test_the_policys_own_metric_names_the_slow_step(walkthrough: Walkthrough) -> None:
    (command,) = commands("What in it is slow?")
    ((labels, value),) = parse_samples(walkthrough.answer(command))
    assert labels["policy"] == SLOW
    assert value > 0.1
