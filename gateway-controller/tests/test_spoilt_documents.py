"""Documents that are spoilt anywhere: each is valid, and can be rendered, or has mistakes. Never an exception."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gatewright_controller.definitions import Definitions
from gatewright_controller.translate import EdgeSettings, translate, translate_gateway
from gatewright_controller.validation import SecretNames, validate
from gatewright_controller.validation.gateway import validate_gateway
from gatewright_documents.mistake import Invalid
from gatewright_documents.values import JsonObject
from gatewright_documents.yaml_reader import parse_yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

HERE = Path(__file__).parent / "testdata"
SECRETS = SecretNames(certificates=["gateway"], authorities=["internal"])
STRANGE: list[Any] = [
    None, True, False, 0, -1, 2**63, 2**70, 1.5, 1e300, "", "*", "/", "/*", "/{a}/{b}", "/{a}/{a}", "%", "a\x00b", "\n",
    "é", "²", "\ud7ff", "[::1]", "[::", "http://", "http://[::1", "http://a:99999", "http://a b", "unix:", "unix:/x",
    "https://a", "grpcs://a/b", "0s", "1ms", "99999999999s", "1.5s", "x" * 70_000, [], {}, [[]], [{}], {"": {}},
    {"a": None}, ["main", "main"], "main", "canary", "[a-", "(?=a)", "a{1000}", "200-100", "::", "0.0.0.0/0",
    "1.2.3.4/99", "a:0", "a:65536",
]  # fmt: skip


def read(pattern: str) -> list[JsonObject]:
    found = [parse_yaml(path.read_bytes()) for path in sorted(HERE.glob(pattern))]
    return [one for one in found if isinstance(one, dict)]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Of all that is inside."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inside:
        yield (*path, key)
        yield from places(one, (*path, key))


def at(value: Any, path: Sequence[Any]) -> Any:
    for step in path:
        value = value[step]
    return value


def spoilt(documents: list[JsonObject]) -> st.SearchStrategy[JsonObject]:
    """One of them with up to three changes: a value that is another, is gone, or stands where it does not belong."""
    taken = [at(one, path) for one in documents for path in places(one)]
    keys = sorted({path[-1] for one in documents for path in places(one) if isinstance(path[-1], str)})

    @st.composite
    def made(draw: st.DrawFn) -> JsonObject:
        document = copy.deepcopy(draw(st.sampled_from(documents)))
        for _ in range(draw(st.integers(1, 3))):
            if not (known := list(places(document))):
                break
            *above, last = draw(st.sampled_from(known))
            parent, value = at(document, above), copy.deepcopy(draw(st.sampled_from(STRANGE) | st.sampled_from(taken)))
            how = draw(st.sampled_from(["another", "another", "gone", "more"]))
            if how == "gone":
                del parent[last]
            elif how == "another":
                parent[last] = value
            elif isinstance(parent, dict):
                parent[draw(st.sampled_from(keys))] = value
            else:
                parent.append(value)
        return document

    return made()


SETTINGS = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])


@SETTINGS
@given(document=spoilt(read("golden/*.in.yaml")))
def test_an_api(document: JsonObject, definitions: Definitions) -> None:
    with contextlib.suppress(Invalid):
        translate(validate(document, definitions, {}, secrets=SECRETS), definitions, EdgeSettings())


@SETTINGS
@given(document=spoilt(read("gateways/golden/*.in.yaml")))
def test_a_gateway(document: JsonObject) -> None:
    with contextlib.suppress(Invalid):
        translate_gateway(validate_gateway(document))
