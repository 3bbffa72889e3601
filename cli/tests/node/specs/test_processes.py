from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from gatewright_cli.builds.build_output import BuildOutput, Group
from gatewright_cli.builds.generation import Generation
from gatewright_cli.node.files.joined_controller import JoinedController
from gatewright_cli.node.files.run_dir import RunDir
from gatewright_cli.node.listeners.gateway import Gateway, Listener
from gatewright_cli.node.specs import bootstrap
from gatewright_cli.node.specs.edge import Edge
from gatewright_cli.node.specs.envoy_drain import EnvoyDrain
from gatewright_cli.node.specs.forwarded import Forwarded
from gatewright_cli.node.specs.processes import NodeSettings, at_start, with_engine
from gatewright_cli.supervision.child import environment
from gatewright_cli.supervision.specs import ProcessSpec

DEFAULT = Group(
    "default", Path("/build/python-env/default/bin/python"), Path("/build/python-executor/python_policy_registry.py")
)
SLOW = Group(
    "slow", Path("/build/python-env/slow/bin/python"), Path("/build/python-executor/python_policy_registry_slow.py")
)


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path, made=False)


@pytest.fixture
def settings() -> NodeSettings:
    return NodeSettings(
        build=BuildOutput(Path("/build"), (DEFAULT,)),
        definitions=Path("/build/policy-definitions"),
        state_dir=Path("/state"),
        envoy=Path("/bin/envoy"),
        bootstrap_template=bootstrap.find(),
        node_id="node-1",
        temporary=Path("/executors"),
        edge=Edge(memory=3_000_000, bodies=1024, connections=77),
    )


def by_name(settings: NodeSettings, run_dir: RunDir) -> dict[str, ProcessSpec]:
    return {spec.name: spec for spec in at_start(settings, run_dir)}


def test_the_order_of_a_whole_node(settings: NodeSettings, run_dir: RunDir) -> None:
    whole = replace(settings, echo="127.0.0.1:9091", executors=2)
    assert list(by_name(whole, run_dir)) == [
        "controller",
        "echo",
        "executor-default-0",
        "executor-default-1",
        "engine",
        "envoy",
    ]


def test_without_python_policies_no_executor(settings: NodeSettings, run_dir: RunDir) -> None:
    specs = by_name(replace(settings, build=BuildOutput(Path("/build"), ())), run_dir)
    assert list(specs) == ["controller", "engine", "envoy"]
    assert "--executor" not in specs["engine"].command


def test_without_controller_the_engine_has_none(settings: NodeSettings, run_dir: RunDir) -> None:
    specs = by_name(replace(settings, controller=None), run_dir)
    assert list(specs) == ["executor-default-0", "engine", "envoy"]
    assert "--controller" not in specs["engine"].command


def test_command_lines(settings: NodeSettings, run_dir: RunDir) -> None:
    """As ARCHITECTURE.md has them under "Processes of a node"."""
    specs, sockets = by_name(replace(settings, executors=2), run_dir), f"unix:{run_dir.path}"
    assert " ".join(specs["controller"].command) == (
        f"{sys.executable} -m gatewright_controller --listen 127.0.0.1:9090 --node-listen {sockets}/controller.sock"
        f" --peers {run_dir.path}/peers/peers.json"
        " --definitions /build/policy-definitions --database sqlite:/state/controller.db"
        " --last-good /state/engine/last-good"
        f" --token-file {run_dir.path}/management-token"
        f" --system-parameters-file {run_dir.path}/system-parameters.yaml"
        f" --gateway {run_dir.path}/gateway.json --rendered-gateway {run_dir.path}/gateway.binpb"
        " --acme-folder /state/acme"
        f" --challenges-listen unix:{run_dir.path}/challenges.sock"
        f" --metrics-listen unix:{run_dir.path}/controller-metrics.sock --log-level info"
    )
    executor = specs["executor-default-1"]
    assert " ".join(executor.command) == (
        "/build/python-env/default/bin/python main.py --listen fd:3 --stacks fd:4"
        f" --peers {run_dir.path}/peers/peers.json --workers 32"
        " --registry /build/python-executor/python_policy_registry.py --log-level info"
    )
    assert executor.cwd == Path("/build/python-executor")
    assert " ".join(specs["engine"].command) == (
        f"/build/bin/policy-engine --manifest /build/manifest.json --ext-proc {sockets}/ext-proc.sock"
        f" --xds {sockets}/xds.sock --admin {sockets}/engine-admin.sock"
        f" --peers {run_dir.path}/peers/peers.json --node-id node-1 --state-dir /state/engine"
        f" --gateway {run_dir.path}/gateway.binpb"
        f" --drain-timeout 10s --executor-drain 30s --generation 1 --body-memory 1024"
        f" --request-limit 60s --memory-limit 1000000"
        f" --log-level info"
        f" --controller {sockets}/controller.sock"
        f" --metrics-source envoy={sockets}/envoy-admin.sock:/stats/prometheus"
        f" --metrics-source supervisor={sockets}/supervisor-metrics.sock"
        f" --metrics-source controller={sockets}/controller-metrics.sock"
        f" --executor default={sockets}/executor-default-0.sock,{sockets}/executor-default-1.sock"
    )


def test_a_joined_node_keeps_its_gateway_unless_it_asks_for_the_controllers(
    settings: NodeSettings, run_dir: RunDir
) -> None:
    for gives, keeps in ((False, True), (True, False)):
        joined = JoinedController("gw.example:9443", Path("/a"), Path("/t"), gives_gateway=gives)
        engine = by_name(replace(settings, controller=None, joined=joined), run_dir)["engine"]
        assert ("--keep-gateway" in engine.command) is keeps


def test_the_engine_alone_takes_no_core_away(settings: NodeSettings, run_dir: RunDir) -> None:
    specs = by_name(settings, run_dir)
    assert [name for name, spec in specs.items() if spec.scheduling == "batch"] == ["engine"]
    chosen = by_name(replace(settings, engine_scheduling="normal"), run_dir)
    assert chosen["engine"].scheduling == "normal"


def test_forwarded_options_reach_their_process(settings: NodeSettings, run_dir: RunDir) -> None:
    forwarded = Forwarded(py={"workers": "8"}, pe={"x": "1"}, envoy={"concurrency": "1", "log-level": "info"})
    specs = by_name(replace(settings, forwarded=forwarded), run_dir)
    assert specs["executor-default-0"].command[8:10] == ("--workers", "8")
    assert ("--x", "1") in list(zip(specs["engine"].command, specs["engine"].command[1:], strict=False))
    assert specs["envoy"].command.count("--log-level") == 1
    assert specs["envoy"].command[-2:] == ("--concurrency", "1")


def test_the_drain_knows_how_long_envoy_takes_connections(settings: NodeSettings, run_dir: RunDir) -> None:
    changed = replace(settings, forwarded=Forwarded(envoy={"drain-time-s": "7"}), drain_seconds=20.0)
    admin = run_dir.path / "envoy-admin.sock"
    assert by_name(changed, run_dir)["envoy"].drain == EnvoyDrain(admin, seconds=20.0, accepts_seconds=7)
    assert by_name(settings, run_dir)["envoy"].drain == EnvoyDrain(admin, seconds=10.0, accepts_seconds=None)


def test_groups_have_executors_of_their_own(settings: NodeSettings, run_dir: RunDir) -> None:
    specs = by_name(replace(settings, build=BuildOutput(Path("/build"), (DEFAULT, SLOW))), run_dir)
    assert [name for name in specs if name.startswith("executor")] == ["executor-default-0", "executor-slow-0"]
    assert specs["executor-slow-0"].command[0] == "/build/python-env/slow/bin/python"
    assert "/build/python-executor/python_policy_registry_slow.py" in specs["executor-slow-0"].command
    assert specs["engine"].command[-1] == f"slow=unix:{run_dir.path}/executor-slow-0.sock"


def test_the_bootstrap_and_the_gateway_are_written(settings: NodeSettings, run_dir: RunDir) -> None:
    listeners = (Listener("http", "0.0.0.0", 8081), Listener("https", "::", 8443, tls=True))  # noqa: S104
    document = Gateway({"kind": "Gateway"}, listeners)
    specs = by_name(replace(settings, gateway=document), run_dir)
    written = yaml.safe_load((run_dir.path / "bootstrap.yaml").read_text())
    assert "listeners" not in written["static_resources"]
    assert written["node"]["id"] == "node-1"
    assert json.loads((run_dir.path / "gateway.json").read_text()) == {"kind": "Gateway"}
    assert str(run_dir.path / "gateway.binpb") in specs["engine"].command
    assert specs["envoy"].listen == "0.0.0.0:8081, [::]:8443"


def test_the_bootstrap_has_the_limits_for_clients(settings: NodeSettings, run_dir: RunDir) -> None:
    chosen = Edge(memory=3 << 30, bodies=1, request_seconds=5, connections=77)
    at_start(replace(settings, edge=chosen), run_dir)
    written = yaml.safe_load((run_dir.path / "bootstrap.yaml").read_text())
    monitors = [monitor["typed_config"] for monitor in written["overload_manager"]["resource_monitors"]]
    assert monitors[0]["max_active_downstream_connections"] == 77
    assert monitors[1]["max_heap_size_bytes"] == 1 << 30
    at_start(replace(settings, edge=chosen, gateway=Gateway(connections=5, heap=2 << 30)), run_dir)
    written = yaml.safe_load((run_dir.path / "bootstrap.yaml").read_text())
    monitors = [monitor["typed_config"] for monitor in written["overload_manager"]["resource_monitors"]]
    assert (monitors[0]["max_active_downstream_connections"], monitors[1]["max_heap_size_bytes"]) == (5, 2 << 30)


@pytest.mark.parametrize(("seconds", "bodies"), [(5, "5s"), (0, "0s"), (20 * 86400.0, "1728000s")])
def test_the_engine_waits_for_bodies_that_policies_want_whole(
    settings: NodeSettings, run_dir: RunDir, seconds: float, bodies: str
) -> None:
    chosen = replace(settings, edge=Edge(memory=3 << 30, bodies=1, request_seconds=seconds))
    command = by_name(chosen, run_dir)["engine"].command
    assert command[command.index("--request-limit") + 1] == bodies


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:80"), ("0.0.0.0", "http://127.0.0.1:80"), ("::", "http://[::1]:80")],  # noqa: S104
)
def test_the_url_for_clients_here(settings: NodeSettings, host: str, url: str) -> None:
    listeners = (Listener("http", host, 80), Listener("https", host, 443, tls=True))
    assert replace(settings, gateway=Gateway({}, listeners)).url == url
    assert listeners[1].url == url.replace("http:", "https:").removesuffix(":80") + ":443"


def environments_of(settings: NodeSettings, run_dir: RunDir) -> dict[str, dict[str, str]]:
    """Process → its environment; of the executors, those of one."""
    return {name: environment(spec) for name, spec in by_name(settings, run_dir).items()}


def test_a_process_gets_the_variables_on_its_list_and_no_others(
    settings: NodeSettings, run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = (
        "GATEWRIGHT_CONTROLLER_TOKEN", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "DATABASE_URL", "UV_DEFAULT_INDEX",
        "PIP_INDEX_URL", "SSH_AUTH_SOCK", "DBUS_SESSION_BUS_ADDRESS", "PYTHONSTARTUP",
    )  # fmt: skip
    for name in secrets:
        monkeypatch.setenv(name, "secret")
    for name in ("LC_ALL", "TZ", "SSL_CERT_FILE", "https_proxy", "PATH"):
        monkeypatch.setenv(name, "wanted")
    environments = environments_of(replace(settings, echo="127.0.0.1:1"), run_dir)
    found = {
        process: {name for name, value in has.items() if value == "secret"} for process, has in environments.items()
    }
    assert found.pop("controller") == {"GATEWRIGHT_CONTROLLER_TOKEN"}
    assert set(map(frozenset, found.values())) == {frozenset()}
    for has in environments.values():
        assert {name for name, value in has.items() if value == "wanted"} >= {"LC_ALL", "SSL_CERT_FILE", "PATH"}
    assert environments["envoy"]["TZ"] == "UTC0"


def test_python_is_tuned_and_not_steered_by_variables(
    settings: NodeSettings, run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With another module path an executor would run code that its lock file lacks; the controller runs our Python."""
    for name in ("PYTHONPATH", "PYTHONHASHSEED", "GOGC"):
        monkeypatch.setenv(name, "0")
    environments = environments_of(settings, run_dir)
    has = {
        name: {process for process, variables in environments.items() if name in variables}
        for name in ("PYTHONPATH", "GOGC")
    }
    assert has == {"PYTHONPATH": {"controller"}, "GOGC": {"engine"}}
    assert {process for process, variables in environments.items() if "PYTHONHASHSEED" in variables} == {
        "controller", "executor-default-0"
    }  # fmt: skip


def test_policies_get_variables_that_are_passed_on(
    settings: NodeSettings, run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENANT", "blue")
    monkeypatch.setenv("OTHER", "blue")
    environments = environments_of(replace(settings, pass_env=("TENANT",)), run_dir)
    assert {process for process, variables in environments.items() if variables.get("TENANT")} == {
        "executor-default-0",
        "engine",
    }
    assert not any("OTHER" in variables for variables in environments.values())


def test_an_engine_inside_envoy_has_no_process_of_its_own(settings: NodeSettings, run_dir: RunDir) -> None:
    apart, inside = by_name(settings, run_dir), by_name(replace(settings, in_envoy=True), run_dir)
    assert list(inside) == [name for name in apart if name != "engine"]
    envoy, engine = inside["envoy"], inside["envoy"].guest
    assert engine is not None
    assert engine.arguments == ("--in-envoy", *apart["engine"].command[1:])
    assert (engine.name, engine.component, engine.sockets) == (
        "engine",
        "policy-engine",
        tuple(run_dir.path / f"{name}.sock" for name in ("ext-proc", "xds", "engine-admin")),
    )
    assert environment(envoy)["ENVOY_DYNAMIC_MODULES_SEARCH_PATH"] == "/build/bin"
    assert envoy.inherits == apart["engine"].inherits
    document = yaml.safe_load((run_dir.path / "bootstrap.yaml").read_text())
    (extension,) = document["bootstrap_extensions"]
    assert json.loads(extension["typed_config"]["extension_config"]["value"]) == [*engine.arguments]
    assert document["admin"]["address"]["pipe"]["path"] == str(envoy.sockets[0])


def test_another_generation_is_written_when_envoy_is_started_again(settings: NodeSettings, run_dir: RunDir) -> None:
    settings = replace(settings, in_envoy=True)
    first = by_name(settings, run_dir)["envoy"]
    second = with_engine(first, settings, run_dir, Generation(2, BuildOutput(Path("/next"), ())), {})
    assert (second.sockets, second.relay, second.command) == (first.sockets, first.relay, first.command)
    assert environment(second)["ENVOY_DYNAMIC_MODULES_SEARCH_PATH"] == "/next/bin"
    for spec, generation in ((first, "1"), (second, "2")):
        assert spec.guest is not None
        spec.guest.hand_over(spec.guest.arguments)
        (extension,) = yaml.safe_load((run_dir.path / "bootstrap.yaml").read_text())["bootstrap_extensions"]
        arguments = json.loads(extension["typed_config"]["extension_config"]["value"])
        assert arguments[arguments.index("--generation") + 1] == generation
