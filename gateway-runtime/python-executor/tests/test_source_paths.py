"""Messages name the file that the author wrote, and the line in it, whatever raised."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from gatewright import testing
from gatewright_executor.policies import source_paths
from gatewright_executor.policies.failure import describe, place, policy_traceback
from gatewright_executor.policies.policy_loader import LoadedPolicy, load_all, read_registry

POLICY = """import json

def on_request(ctx, params):
    if params["how"] == "sdk":
        ctx.metadata["x"] = object()
    if params["how"] == "package":
        json.loads("{")
    raise KeyError("own")
"""
REGISTRY = """PYTHON_POLICIES = {"mark:v1.0.0": "policies.mark_v1_0_0.policy"}
POLICY_SOURCES = {"mark_v1_0_0": "policies/mark"}
"""


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend("policies-of-tests")  # and takes away what they put there
    forget()
    yield
    source_paths.learn({})
    forget()


def forget() -> None:
    """Policies that a test has loaded, this file's or another's."""
    for name in [name for name in sys.modules if name.split(".")[0] == "policies"]:
        del sys.modules[name]


def loaded(folder: Path, source: str) -> LoadedPolicy:
    package = folder / "policies" / "mark_v1_0_0"
    package.mkdir(parents=True)
    for file, text in {"policy.py": source, "__init__.py": "", "../__init__.py": ""}.items():
        (package / file).write_text(text)
    (folder / "registry.py").write_text(REGISTRY)
    return load_all(read_registry(folder / "registry.py"))["mark:v1.0.0"]


@pytest.mark.parametrize(("how", "line"), [("sdk", 5), ("package", 7), ("own", 8)])
def test_an_exception_is_placed_in_the_policys_own_file(tmp_path: Path, how: str, line: int) -> None:
    hook = loaded(tmp_path, POLICY).on_request
    assert hook is not None
    with pytest.raises(Exception, match=r".") as caught:
        hook.function(testing.request(), testing.params(how=how))
    assert describe(caught.value).endswith(f"(policies/mark/policy.py:{line})")
    assert place(caught.value) == ("policies/mark/policy.py", line)
    assert place(BaseExceptionGroup("several", [caught.value])) == ("policies/mark/policy.py", line)
    trace = policy_traceback(caught.value)
    assert f'File "policies/mark/policy.py", line {line}, in on_request' in trace
    assert str(tmp_path) not in trace


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("x = 1\nx.y\n", "(policies/mark/policy.py:2)"),
        ("x = 1\ndef (\n", "(policies/mark/policy.py:2)"),
        ("\ndef on_request(ctx):\n    return None\n", "(policies/mark/policy.py:2)"),
        ("on_request = 5\n", "(policies/mark/policy.py)"),
        ("", "in policies/mark/policy.py"),
    ],
)
def test_what_is_wrong_with_a_module_is_placed_there_too(tmp_path: Path, source: str, place: str) -> None:
    failure = loaded(tmp_path, source).failure
    assert failure is not None
    assert failure.message.endswith(place)
