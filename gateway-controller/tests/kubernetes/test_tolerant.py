from __future__ import annotations

import logging

import pytest
from gatewright_controller.gateway_api import Objects, Translation
from gatewright_controller.kubernetes.tolerant import TolerantTranslation


def translate(objects: Objects) -> Translation:
    """A document for each object; it fails for one that says so, or for two that do not go together."""
    specs = [found["spec"] for found in objects.by_key.values()]
    if "bad" in specs or {"left", "right"} <= set(specs):
        raise KeyError("spec")
    return Translation(documents=[{"name": key[2], "spec": found["spec"]} for key, found in objects.by_key.items()])


def objects(**specs: str) -> Objects:
    return Objects({("HTTPRoute", "shop", name): {"spec": spec} for name, spec in specs.items()})


def specs(translation: Translation) -> dict[str, str]:
    return {document["name"]: document["spec"] for document in translation.documents}


def test_an_object_that_fails_leaves_all_others(caplog: pytest.LogCaptureFixture) -> None:
    tolerant = TolerantTranslation(translate)
    with caplog.at_level(logging.ERROR):
        made = tolerant.translate(objects(a="1", b="bad", c="3", d="4"))
    assert specs(made) == {"a": "1", "c": "3", "d": "4"}
    assert list(tolerant.failing) == [("HTTPRoute", "shop", "b")]
    assert "objects of Kubernetes are not translated" in caplog.text


def test_it_stays_what_it_was_while_others_change_come_and_go() -> None:
    tolerant = TolerantTranslation(translate)
    tolerant.translate(objects(a="1", b="2", c="3"))
    assert specs(tolerant.translate(objects(a="10", b="bad", d="4"))) == {"a": "10", "b": "2", "d": "4"}
    assert specs(tolerant.translate(objects(a="10", b="5", d="4"))) == {"a": "10", "b": "5", "d": "4"}
    assert tolerant.failing == ()


def test_what_it_stays_is_what_was_translated_last() -> None:
    tolerant = TolerantTranslation(translate)
    tolerant.translate(objects(a="1", b="2"))
    tolerant.translate(objects(a="10", b="bad"))
    assert specs(tolerant.translate(objects(a="bad", b="bad"))) == {"a": "10", "b": "2"}


def test_of_two_that_fail_together_one_goes_on() -> None:
    made = specs(TolerantTranslation(translate).translate(objects(a="left", b="right", c="3")))
    assert made in ({"a": "left", "c": "3"}, {"b": "right", "c": "3"})


def test_a_failure_without_objects_is_told() -> None:
    def fail(_: Objects) -> Translation:
        raise ValueError("always")

    with pytest.raises(ValueError, match="always"):
        TolerantTranslation(fail).translate(objects(a="1"))
