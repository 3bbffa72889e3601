"""One cluster for all tests of the room: each takes names of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.kit.places import ROOT
from e2e.kubernetes.lab import Cluster, cluster, image_of_the_product, images_of_the_suite, refusal


@pytest.fixture(scope="session", name="cluster")
def _cluster(build: Path) -> Iterator[Cluster]:
    reason = refusal()
    assert reason is None, f"no cluster: {reason}"
    images = {**images_of_the_suite(), "gatewright": image_of_the_product(build)}
    with cluster(images, ROOT / "build" / "kubernetes" / "logs") as made:
        yield made
