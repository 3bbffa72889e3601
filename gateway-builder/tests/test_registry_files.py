from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gatewright_builder.policy import Policy
from gatewright_builder.registry_files import go_package, plugin_registry, python_module, python_policy_registry
from gatewright_builder.tree import write_tree


def make(folder: Path, discovered: Callable[[Path], Policy], name: str, runtime: str) -> Policy:
    text = f"name: {name}\nversion: v1.0.0\nruntime: {runtime}\nprocessingMode: {{requestHeaderMode: PROCESS}}\n"
    write_tree({"policy-definition.yaml": text.encode()}, folder / name)
    return discovered(folder / name)


def test_go_policies_are_registered_by_their_factory_and_python_ones_by_the_bridge(
    tmp_path: Path, discovered: Callable[[Path], Policy]
) -> None:
    in_go, in_python = (make(tmp_path, discovered, f"in-{runtime}", runtime) for runtime in ("go", "python"))
    text = plugin_registry((in_go, in_python))
    assert f'\tin_go_v1_0_0 "{go_package(in_go)}"\n' in text
    assert '\tregistry.Register("in-go", "v1.0.0", in_go_v1_0_0.GetPolicy)\n' in text
    assert '\tregistry.Register("in-python", "v1.0.0", registry.BridgeFactory("default"))\n' in text
    assert go_package(in_python) not in text


def test_the_python_registry_is_a_module_of_plain_dictionaries(
    tmp_path: Path, discovered: Callable[[Path], Policy]
) -> None:
    policies = tuple(make(tmp_path, discovered, name, "python") for name in ("one", "two"))
    module: dict[str, object] = {}
    exec(python_policy_registry(policies), module)  # noqa: S102 - what the builder has just generated
    assert module["PYTHON_POLICIES"] == {policy.key: python_module(policy) for policy in policies}
    assert python_module(policies[0]) == "policies.one_v1_0_0.policy"


def test_no_policies_are_registries_all_the_same() -> None:
    assert "registry.Register(" not in plugin_registry(())
    module: dict[str, object] = {}
    exec(python_policy_registry(()), module)  # noqa: S102 - the same
    assert module["PYTHON_POLICIES"] == {}
