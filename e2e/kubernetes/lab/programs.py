"""The programs of a cluster, built once for all checkouts, and the kinds of Gateway API."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

from e2e.kit.places import ROOT

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "echo-basic", "gateway-api-conformance", "helm")
GATEWAY_API = "sigs.k8s.io/gateway-api"
CHANNEL = "experimental"
"""With fields of features that the product says, such as retries; the standard one has a part of it."""


def build_programs() -> None:
    """Builds those that are missing: done before a cluster starts, whose network reaches no module proxy."""
    for name in PROGRAMS:
        program(name)
    gateway_api_kinds()


@functools.cache
def program(name: str) -> str:
    """The path of the program."""
    command = [sys.executable, str(ROOT / "tools" / "go_tool.py"), name]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


@functools.cache
def gateway_api_kinds() -> str:
    """The manifests of the kinds of Gateway API, of the version that the suite is of."""
    module = ROOT / "e2e" / "kubernetes" / "programs" / "conformance"
    command = ["go", "mod", "download", "-json", GATEWAY_API]
    environment = os.environ | {"GOWORK": "off"}
    result = subprocess.run(command, cwd=module, env=environment, capture_output=True, text=True, check=True)
    folder = Path(json.loads(result.stdout)["Dir"]) / "config" / "crd" / CHANNEL
    return "\n---\n".join(file.read_text() for file in sorted(folder.glob("gateway.networking.k8s.io_*.yaml")))
