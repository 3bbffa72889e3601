"""Names that controller and engine both give to Envoy: written once, and by hand nowhere else."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import envoy_names  # noqa: E402

NAMES = envoy_names.read_names(envoy_names.SOURCE.read_text("utf-8"))
VALUES = {name.value for name in NAMES}
PYTHON_ROOTS = ("gateway-controller/src", "cli/src")
GO_ROOTS = ("gateway-runtime/policy-engine/engine", "gateway-runtime/policy-engine/internal")
GENERATED = {"_gen", "gen", "testdata"}
WITHOUT_CONSTANTS = (
    "gateway-runtime/envoy/bootstrap.yaml",
    "gateway-runtime/envoy/listener.json",
    "gateway-runtime/policy-engine/internal/extproc/testdata/envoy.yaml",
    "gateway-controller/src/gatewright_controller/**/translate/envoy/upstream_paths.lua",
)
"""Files that Envoy reads, in languages that cannot import a constant."""
OUR_NAME = re.compile(r"\bgatewright(?:\.(?!dev\b|node\.v1|executor\.v1)|_(?:xds|policy_engine|challenges)\b)[a-z_.]*")
ENGINE = "gateway-runtime/policy-engine/internal"
CONTROLLER = "gateway-controller/src/gatewright_controller"
OTHERS = {
    ("gatewright.route", f"{CONTROLLER}/local/metrics.py"): "a key of the management API's requests",
    ("gatewright.literal_patterns", f"{ENGINE}/condition/validators.go"): "a validator, which CEL asks for its name",
    ("gatewright.whole_maps", f"{ENGINE}/condition/validators.go"): "a validator, which CEL asks for its name",
    ("headers_too_large", f"{ENGINE}/proxyanswer/rules.go"): "the code of a cause, which recordings have",
    ("headers_too_large", f"{ENGINE}/chain/limits.go"): "held by chain/details_internal_test.go",
    ("request_overall_timeout", f"{ENGINE}/chain/gathering.go"): "held by chain/details_internal_test.go",
    ("gatewright.gatewright:9002", "cli/src/gatewright_cli/commands/attach_command.py"): "a Service, by default",
    ("x-gatewright-upstream", f"{ENGINE}/chain/attempts.go"): "held by extproc/first_event_internal_test.go",
    ("x-gatewright-", f"{ENGINE}/chain/validate.go"): "held by conformance/actions.json, with both SDKs",
}
"""Literals that look like names of Envoy's configuration, where they stand, and what they are."""
ATTRIBUTES = f"{ENGINE}/tracing/spans.go"
"""Has the names of attributes of spans, which collectors read."""
GO_TOKEN = re.compile(
    r"""//[^\n]* | /\*.*?\*/ | '(?:\\.|[^'\\\n])+' | "(?P<quoted>(?:\\.|[^"\\\n])*)" | `(?P<raw>[^`]*)`""",
    re.VERBOSE | re.DOTALL,
)


def python_literals(text: str) -> Iterator[str]:
    """All string literals, parts of f-strings too, but for docstrings."""
    nodes = list(ast.walk(ast.parse(text)))
    docs = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


def go_literals(text: str) -> Iterator[str]:
    """All string literals, but for comments."""
    for token in GO_TOKEN.finditer(text):
        literal = token["quoted"] if token["quoted"] is not None else token["raw"]
        if literal is not None:
            yield literal


def product_literals() -> Iterator[tuple[str, str]]:
    """The string literals of the product's code, by the files that have them."""
    for roots, suffix, literals in ((PYTHON_ROOTS, "py", python_literals), (GO_ROOTS, "go", go_literals)):
        files = [file for root in roots for file in sorted((ROOT / root).rglob(f"*.{suffix}"))]
        assert files
        for file in files:
            place = file.relative_to(ROOT)
            if not GENERATED & set(place.parts) and not place.name.endswith("_test.go"):
                yield from ((str(place), literal) for literal in literals(file.read_text("utf-8")))


def is_distinct(value: str) -> bool:
    """Whether a literal of this value can hardly mean anything else, as "value" or "/" can."""
    return len(value) > 10 and re.search(r"[._/-]", value) is not None


def test_no_product_file_writes_a_name_by_hand() -> None:
    distinct = set(filter(is_distinct, VALUES))
    by_hand = [
        f"{file}: {literal!r}"
        for file, literal in product_literals()
        if (OUR_NAME.search(literal) or literal in distinct) and (literal, file) not in OTHERS and file != ATTRIBUTES
    ]
    assert not by_hand, "expected constants of envoy_names (proto/envoy_names.yaml), got:\n" + "\n".join(by_hand)


@pytest.mark.parametrize("pattern", WITHOUT_CONSTANTS)
def test_files_without_constants_have_only_names_that_there_are(pattern: str) -> None:
    (file,) = ROOT.glob(pattern)
    found = set(re.findall(r"\bgatewright[._][a-z_.]+", file.read_text("utf-8")))
    unknown = sorted(name for name in found if name not in VALUES)
    assert found
    assert not unknown, f"{file.name}: expected names of proto/envoy_names.yaml, got {unknown}"


def test_each_exception_is_needed() -> None:
    assert set(OTHERS) <= {(literal, file) for file, literal in product_literals()}


def test_the_gateways_own_headers_are_removed_from_what_clients_send() -> None:
    by_key = {name.key: name.value for name in NAMES}
    headers = [value for key, value in by_key.items() if key.endswith("_header")]
    assert headers
    assert all(header.startswith(by_key["own_header_prefix"]) for header in headers)


def test_each_name_is_read() -> None:
    """A name that no product file of either language uses, or a file without constants, is left over."""
    texts = [
        file.read_text("utf-8")
        for root, suffix in [*((root, "py") for root in PYTHON_ROOTS), *((root, "go") for root in GO_ROOTS)]
        for file in (ROOT / root).rglob(f"*.{suffix}")
        if "_gen" not in file.parts
    ]
    used = {word for text in texts for word in re.findall(r"\benvoy_?names\.(\w+)", text)}
    assert not [name.key for name in NAMES if not {name.python, name.go} & used]


def test_constants() -> None:
    text = "trace_span_id_key: {value: spanId, writer: the engine, reader: access logs}\n"
    names = envoy_names.read_names(text)
    doc = "Written by the engine. Read by access logs."
    assert envoy_names.python_module(names).endswith(f'\n\nTRACE_SPAN_ID_KEY = "spanId"\n"""{doc}"""\n')
    go = f'const (\n\t// TraceSpanIDKey: {doc[0].lower()}{doc[1:]}\n\tTraceSpanIDKey = "spanId"\n)\n'
    assert envoy_names.go_file(names).endswith(go)


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("A: {value: a, writer: w, reader: r}", "A: expected words in lower case, with _ between them"),
        ("a: {value: a, writer: w}", "a: expected the fields reader, value, writer"),
        ("a: {value: 1, writer: w, reader: r}", "a.value: expected one line of text in ASCII, got 1"),
        ("a: {value: a, writer: w, reader: ''}", "a.reader: expected one line of text in ASCII, got ''"),
        (
            "a: {value: 'a\"b', writer: w, reader: r}",
            "a.value: expected no quotation mark and no backslash, got 'a\"b'",
        ),
    ],
)
def test_mistakes(text: str, mistake: str) -> None:
    with pytest.raises(envoy_names.MistakeError) as raised:
        envoy_names.read_names(text)
    assert str(raised.value) == mistake
