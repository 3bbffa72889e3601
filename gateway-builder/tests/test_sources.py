from __future__ import annotations

from pathlib import Path

import pytest
from gatewright_builder.mistake import BuildError
from gatewright_builder.sources import PACKAGE, Sources, find_sources


def test_those_around_the_package_are_found_unasked() -> None:
    sources = find_sources()
    assert sources.root == PACKAGE.parents[2]
    assert sources.has_go
    assert sources.bootstrap.is_file()
    assert sources.executor_project.is_file()
    assert sources.sdk_project.is_file()


def test_those_of_another_checkout_are_named(product: Path) -> None:
    assert find_sources(product) == Sources(product.resolve())


def test_a_folder_that_is_no_checkout_is_refused_with_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        find_sources(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: expected a checkout of Gatewright, got no gateway-runtime/python-executor/src/gatewright_executor"
        " in it; name one with --source-root"
    )
    assert not Sources(tmp_path).has_go
