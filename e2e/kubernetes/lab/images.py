"""What images stand for: programs of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from e2e.kit.places import ROOT
from e2e.kubernetes.lab.programs import program


@dataclass(frozen=True)
class Image:
    """A program and its environment, as an image has them. mounts: folders of this machine, by where they are in it."""

    entrypoint: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: Mapping[str, Path] = field(default_factory=dict)


SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
Images = Mapping[str, Image]
"""By the image's name, with a tag or for all tags."""

IDLE = Image(("sleep", "infinity"))
"""For an image whose answers no test asks for: its pod is to be ready, that is all."""


def images_of_the_suite() -> Images:
    """Those of the conformance suite's manifests. Its name server is for UDPRoutes alone."""
    echo = Image((program("echo-basic"),))
    return {"registry.k8s.io/gateway-api/echo-basic": echo, "registry.k8s.io/coredns/coredns": IDLE}


def image_of_the_product(build: Path, checkout: Path = ROOT) -> Image:
    """What gateway-runtime/Dockerfile makes of a checkout that is set up, and this build."""
    programs = checkout / ".venv" / "bin"
    environment = {"GATEWRIGHT_RUN_DIR": "/run/gatewright", "PATH": f"{programs}:{SEARCH_PATH}"}
    entrypoint = ("sh", str(checkout / "gateway-runtime" / "docker-entrypoint.sh"))
    return Image(entrypoint, environment, {"/app/build": build, str(checkout): checkout})


def image_named(reference: str, images: Images) -> Image | None:
    name = reference.split("@")[0]
    if name in images:
        return images[name]
    repository, colon, tag = name.rpartition(":")
    return images.get(repository if colon and "/" not in tag else name)
