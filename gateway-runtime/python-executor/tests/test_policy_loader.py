from collections.abc import Callable
from pathlib import Path

import pytest
from gatewright.policy import FailureClass
from gatewright_executor.policies.policy_loader import LoadedPolicy, RegistryError, read_registry

Load = Callable[..., dict[str, LoadedPolicy]]
GOOD = "def on_request(ctx, params): pass"


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("\n\ndef on_request(ctx, params)\n    pass", r"SyntaxError: expected ':' \(.*/bad\.py:3\)"),
        ("\nimport jwt_missing", r"ModuleNotFoundError: No module named 'jwt_missing' \(.*/bad\.py:2\)"),
        ("\n\nraise SystemExit(3)", r"SystemExit: 3 \(.*/bad\.py:3\)"),
        ("def f():\n    return 1 / 0\n\nf()", r"ZeroDivisionError: division by zero \(.*/bad\.py:2\)"),
        ("x = 1", r"expected a function on_request\(ctx, params\), on_response.* found none in .*/bad\.py"),
        ("on_request = 5", r"expected a function on_request\(ctx, params\), got int \(.*/bad\.py"),
        (
            "\ndef on_request(ctx): pass",
            r"expected a function on_request\(ctx, params\), got on_request\(ctx\): .*bad\.py:2\)",
        ),
        (
            "def on_response(ctx, params, more): pass",
            r"got on_response\(ctx, params, more\): missing a required argument",
        ),
        (GOOD + "\ndef prepare(): pass", r"prepare\(params\) or prepare\(params, metadata, shared\), got prepare\(\)"),
        ("def on_request(ctx, params): yield", "to return an action, got a generator"),
        ("async def on_request(ctx, params): yield", "to return an action, got a generator"),
    ],
)
def test_the_reason_of_a_policy_that_cannot_be_used_is_sent_and_the_others_are_served(
    load: Load, source: str, sentence: str
) -> None:
    policies = load(bad=source, good=GOOD)
    failure = policies["bad:v1.0.0"].failure
    assert failure is not None
    assert (failure.policy, failure.hook) == ("bad:v1.0.0", "import")
    with pytest.raises(RuntimeError, match=sentence):
        raise RuntimeError(failure.message)
    assert policies["good:v1.0.0"].failure is None


def test_a_fault_of_the_contract_is_a_bad_action(load: Load) -> None:
    failure = load(bad="on_request = 5")["bad:v1.0.0"].failure
    assert failure is not None
    assert failure.failure_class is FailureClass.BAD_ACTION


def test_what_counts_as_a_function(load: Load) -> None:
    source = """
        import functools

        class Call:
            async def __call__(self, ctx, params): pass

        def base(extra, ctx, params, more=None, *rest, **options): pass

        on_request = Call()
        on_response = functools.partial(base, 1)
    """
    policy = load(odd=source)["odd:v1.0.0"]
    assert policy.failure is None
    assert policy.on_request is not None
    assert policy.on_response is not None
    assert (policy.on_request.is_coroutine, policy.on_response.is_coroutine) == (True, False)


def test_the_registry_of_a_build(tmp_path: Path) -> None:
    file = tmp_path / "python_policy_registry.py"
    file.write_text('PYTHON_POLICIES: dict[str, str] = {"a:v1.0.0": "policies.a_v1_0_0.policy"}\n')
    assert read_registry(file) == {"a:v1.0.0": "policies.a_v1_0_0.policy"}


@pytest.mark.parametrize(("text", "sentence"), [
    (None, "expected the generated python_policy_registry.py at .* Name it with --registry"),
    ("X = 1", "expected PYTHON_POLICIES: .* got None"),
    ("PYTHON_POLICIES = {'a': 1}", "expected PYTHON_POLICIES"),
])  # fmt: skip
def test_what_is_no_registry(tmp_path: Path, text: str | None, sentence: str) -> None:
    file = tmp_path / "registry.py"
    if text is not None:
        file.write_text(text)
    with pytest.raises(RegistryError, match=sentence):
        read_registry(file)
