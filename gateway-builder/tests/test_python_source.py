"""What counts as a policy's hooks, and which files are its sources."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from gatewright_builder.policy import Policy
from gatewright_builder.python_source import unread_bodies, unused_hooks, validate_python_directory_structure
from gatewright_builder.source_files import collect_python_source_files
from gatewright_builder.tree import write_tree

DEFINITION = b"name: sample\nversion: v1.0.0\nruntime: python\nprocessingMode:\n  requestHeaderMode: PROCESS\n"
Make = Callable[..., Policy]


@pytest.fixture
def make(tmp_path: Path, discovered: Callable[[Path], Policy]) -> Make:
    def made(source: str, definition: bytes = DEFINITION) -> Policy:
        write_tree({"policy-definition.yaml": definition, "policy.py": source.encode()}, tmp_path / "sample")
        return discovered(tmp_path / "sample")

    return made


@pytest.mark.parametrize(
    "source",
    [
        "def on_request(ctx, params): ...",
        "async def on_request(ctx, params): ...",
        "def on_request(_ctx, _params, *, log=None): ...",
        "def on_request(ctx, params=None, extra=1): ...",
        "def on_request(*both): ...",
        "from .inner import on_request",
        "from .inner import decide as on_request",
        "on_request = lambda ctx, params: None",
        "on_request: object = make()",
        "try:\n    from fast import on_request\nexcept ImportError:\n    def on_request(ctx, params): ...",
        "def get_policy(metadata, params): ...",
        "pattern = '\\d'\ndef on_request(ctx, params): ...",
        *(
            f"def on_request(ctx, params): ...\n{more}"
            for more in (
                "def prepare(params): ...",
                "async def prepare(params, metadata): yield",
                "def prepare(params, metadata=None): ...",
                "def prepare(params, shared, metadata): ...",
                "def prepare(params, /, *, shared): ...",
                "async def prepare(params, cache=None, shared=None): ...",
                "def setup(): ...",
                "async def setup(system_params): yield",
                "from .inner import setup",
                "def prepare(params, cache=None):\n    def inner(): yield\ndef close(prepared): ...",
                "from .inner import prepare\nasync def close(prepared): ...",
            )
        ),
    ],
)
def test_a_policy_that_the_executor_can_call_has_no_mistake(make: Make, source: str) -> None:
    assert list(validate_python_directory_structure(make(source))) == []


def test_a_hook_that_no_phase_calls_is_a_note(make: Make) -> None:
    policy = make("def on_request(ctx, params): ...\n\n\ndef on_response(ctx, params): ...\n")
    assert list(validate_python_directory_structure(policy)) == []
    assert list(unused_hooks(policy)) == [
        "sample/policy.py:4: on_response of sample:v1.0.0 is never called: its definition has SKIP for "
        "responseHeaderMode and responseBodyMode; to have it called write responseHeaderMode: PROCESS, or "
        "responseBodyMode: BUFFER for the body too"
    ]
    assert list(unused_hooks(make("def on_request(ctx, params): ..."))) == []


@pytest.mark.parametrize(
    ("source", "got"),
    [
        ("def on_request(): ...", "on_request()"),
        ("def on_request(ctx, params, more): ...", "on_request(ctx, params, more)"),
        ("def on_request(ctx, params, *, more): ...", "on_request(ctx, params, *, more)"),
        ("def on_request(ctx, *, params): ...", "on_request(ctx, *, params)"),
        ("on_request: object", "no on_request"),
        ("class Policy:\n    def on_request(self, ctx, params): ...", "no on_request"),
        ("def get_policy(metadata, params): ...\ndef on_response(ctx, params): ...", "no on_request"),
        ("def on_request(ctx, params): ...\ndef prepare(params, about): ...", "prepare(params, about)"),
        ("def on_request(ctx, params): ...\ndef prepare(*, params): ...", "prepare(*, params)"),
        ("def on_request(ctx, params): ...\ndef prepare(params, shared, about): ...", "prepare(params, shared, about)"),
        ("def on_request(ctx, params): ...\ndef setup(params): ...", "setup(params)"),
        ("def on_request(ctx, params): ...\ndef setup(*, metadata): ...", "setup(*, metadata)"),
        ("def on_request(ctx, params): ...\ndef close(prepared): ...", "no prepare"),
        ("def on_request(ctx, params): ...\ndef prepare(params): yield\ndef close(prepared): ...", "both"),
        ("def on_request(ctx, params): ...\ndef prepare(params): ...\ndef close(): ...", "close()"),
    ],
)
def test_a_policy_that_the_executor_cannot_call_is_refused(make: Make, source: str, got: str) -> None:
    assert next(validate_python_directory_structure(make(source))).got == got


STREAMS = DEFINITION + b"  requestBodyMode: STREAM\n"


@pytest.mark.parametrize(
    "stream",
    [
        "async def on_request_stream(ctx, chunks, params):\n    async for chunk in chunks:\n        yield chunk",
        "from .inner import on_request_stream",
        "on_request_stream = masked(b'secret')",
    ],
)
def test_a_policy_that_streams(make: Make, stream: str) -> None:
    policy = make(f"def on_request(ctx, params): ...\n{stream}\n", STREAMS)
    assert list(validate_python_directory_structure(policy)) == []
    assert list(unused_hooks(policy)) == []


@pytest.mark.parametrize("name", ["on_requst", "on_Request", "onrequest"])
def test_a_misspelled_hook_is_quoted_with_its_line(make: Make, name: str) -> None:
    policy = make(f"import logging\n\ndef {name}(ctx, params): ...\n")
    (mistake,) = validate_python_directory_structure(policy)
    assert str(mistake).endswith(
        f"policy.py:3: expected on_request(ctx, params), for its processingMode, got {name}; "
        "rename it, or SKIP requestHeaderMode and requestBodyMode"
    )


STREAM = "async def on_request_stream(ctx, chunks, params):\n    yield b''\n"


@pytest.mark.parametrize(
    ("source", "sentences"),
    [
        (
            "def on_request(ctx, params): ...",
            [
                "expected on_request_stream(ctx, chunks, params), for its processingMode, got no on_request_stream; "
                "write it, or change requestBodyMode: STREAM"
            ],
        ),
        (
            STREAM,
            ["expected on_request(ctx, params), for its processingMode, got no on_request; write it, or SKIP "
             "requestHeaderMode"],
        ),
        (
            "def get_policy(metadata, params): ...",
            [
                "expected on_request_stream(ctx, chunks, params), for its processingMode, got no on_request_stream; "
                "write it, or change requestBodyMode: STREAM"
            ],
        ),
        (
            f"def on_request(ctx, params): ...\n{STREAM.replace('chunks, ', '')}",
            [
                "expected on_request_stream(ctx, chunks, params), got on_request_stream(ctx, params); change its "
                "arguments: they are given by position"
            ],
        ),
        (
            f"def on_request(ctx, params): ...\n{STREAM.replace('yield', 'return')}",
            [
                "expected on_request_stream to be an async generator, got an `async def` without a `yield`; write "
                "`async def`, and a `yield` in it"
            ],
        ),
        (
            f"def on_request(ctx, params): ...\n{STREAM.replace('async ', '')}",
            [
                "expected on_request_stream to be an async generator, got a `def`; write `async def`, "
                "and a `yield` in it"
            ],
        ),
    ],
)  # fmt: skip
def test_a_policy_whose_stream_the_executor_cannot_call_is_refused(
    make: Make, source: str, sentences: list[str]
) -> None:
    mistakes = validate_python_directory_structure(make(source, STREAMS))
    assert [f"expected {mistake.expected}, got {mistake.got}; {mistake.cure}" for mistake in mistakes] == sentences


@pytest.mark.parametrize(
    ("source", "definition", "sentence"),
    [
        (
            f"def on_request(ctx, params): ...\n{STREAM}",
            DEFINITION,
            "sample/policy.py:2: on_request_stream of sample:v1.0.0 is never called: its definition has SKIP for "
            "requestBodyMode; to have it called write requestBodyMode: STREAM",
        ),
        (
            f"def on_request(ctx, params): ...\n{STREAM}",
            DEFINITION + b"  requestBodyMode: BUFFER\n",
            "sample/policy.py:2: on_request_stream of sample:v1.0.0 is never called: its definition has BUFFER for "
            "requestBodyMode; to have it called write requestBodyMode: STREAM",
        ),
        (
            f"{STREAM}def on_request(ctx, params): ...\n",
            STREAMS.replace(b"  requestHeaderMode: PROCESS\n", b""),
            "sample/policy.py:3: on_request of sample:v1.0.0 is never called: its definition has SKIP for "
            "requestHeaderMode; to have it called write requestHeaderMode: PROCESS",
        ),
    ],
)
def test_a_stream_that_nothing_calls_is_a_note(make: Make, source: str, definition: bytes, sentence: str) -> None:
    policy = make(source, definition)
    assert list(validate_python_directory_structure(policy)) == []
    assert list(unused_hooks(policy)) == [sentence]


def test_sources_are_all_files_but_tests_caches_and_hidden_ones(tmp_path: Path) -> None:
    files = [
        "policy.py", "words.txt", "inner/__init__.py", "inner/latest.py", "policy-definition.yaml", "requirements.txt",
        "tests/test_a.py", "test_policy.py", "inner/policy_test.py", "conftest.py", "__pycache__/policy.pyc", ".env",
        "inner/.cache/x",
    ]  # fmt: skip
    write_tree(dict.fromkeys(files, b""), tmp_path)
    assert list(collect_python_source_files(tmp_path)) == sorted(files[:6])


TYPED = "from typing import Any\nfrom sdk.policy import RequestAction, RequestContext, ResponseContext as Answer\n"


@pytest.mark.parametrize(
    "source",
    [
        "def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction: ...",
        "def on_request(ctx: 'RequestContext', params: Any) -> 'RequestAction | None': ...",
        "def on_request(ctx: MyContext, params: MyParams) -> None: ...",
        "def on_request(*both: Any) -> None: ...",
    ],
)
def test_annotations_of_a_hook_may_be_its_own_or_the_authors(make: Make, source: str) -> None:
    assert list(validate_python_directory_structure(make(TYPED + source))) == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("ctx: Answer, params: Any) -> None", "expected ctx: RequestContext in on_request, got ctx: ResponseContext"),
        ("ctx: 'Answer', params: Any) -> None", "expected ctx: RequestContext in on_request, got ctx: ResponseContext"),
        ("ctx, params: str) -> None", "expected params: dict[str, Any] in on_request, got params: str"),
        ("ctx, params) -> int", "expected on_request to return RequestAction, got -> int"),
        ("ctx: bytes, params) -> None", "expected ctx: RequestContext in on_request, got ctx: bytes"),
    ],
)
def test_annotations_that_are_another_hooks_are_refused(make: Make, source: str, expected: str) -> None:
    (mistake,) = validate_python_directory_structure(make(f"{TYPED}def on_request({source}: ..."))
    assert expected in str(mistake)
    assert "policy.py:3: " in str(mistake)


@pytest.mark.parametrize("mode", ["", "  requestBodyMode: STREAM\n"])
def test_a_body_that_is_read_and_not_asked_for_is_a_note(make: Make, mode: str) -> None:
    stream = "async def on_request_stream(ctx, chunks, params): yield b''\n"
    source = f"def on_request(ctx, params):\n    if len(ctx.body) > 3: ...\n{stream}"
    body_mode = "STREAM" if mode else "SKIP"
    assert list(unread_bodies(make(source, DEFINITION + mode.encode()))) == [
        "sample/policy.py:2: on_request of sample:v1.0.0 reads the body, which is None: its definition has "
        f"{body_mode} for requestBodyMode; to have it write requestBodyMode: BUFFER"
    ]
    assert list(unread_bodies(make(source, DEFINITION + b"  requestBodyMode: BUFFER\n"))) == []
    assert list(unread_bodies(make("def on_request(ctx, params): params['x'].body"))) == []
