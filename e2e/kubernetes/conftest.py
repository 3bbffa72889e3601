"""One cluster for all tests of the room, with the product in it: each test takes names of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import postgresql
import pytest

from e2e.kit.gateway import BUILD_SECONDS
from e2e.kit.places import ROOT
from e2e.kubernetes.lab import Cluster, cluster, image_of_the_product, images_of_the_suite, refusal
from e2e.kubernetes.product import Product, install
from e2e.kubernetes.suite import OUTPUT


@pytest.fixture(scope="session")
def build() -> Path:
    """The stock build: the product's image has it."""
    output = ROOT / "build" / "gateway-api"
    command = ["gatewright", "build", "--manifest", str(ROOT / "build.yaml"), "--output", str(output)]
    subprocess.run(command, check=True, timeout=BUILD_SECONDS)
    return output


@pytest.fixture(scope="session", name="cluster")
def _cluster(build: Path) -> Iterator[Cluster]:
    """The build is made first, and PostgreSQL is there: the cluster's network reaches no registry."""
    reason = refusal()
    assert reason is None, f"no cluster: {reason}"
    postgresql.programs()
    images = {**images_of_the_suite(), "gatewright": image_of_the_product(build)}
    with cluster(images, OUTPUT / "logs") as made:
        yield made


@pytest.fixture(scope="session")
def product(cluster: Cluster) -> Product:
    return install(cluster)
