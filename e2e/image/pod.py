"""A pod of the Helm chart as a container: its arguments, and the mounts that a kubelet gives it.

Ports, and the controller's name, are this machine's: the pods share its network.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from e2e.image.container import LIMITS, Container
from e2e.image.engine import podman
from e2e.kit.as_deployed import Place
from e2e.kit.chart import Object
from e2e.kit.chart import container as container_of

Files = Mapping[str, Mapping[str, str]]
"""By mount path and name."""
SECRET, CONFIG, EMPTY, CLAIM = 0o440, 0o644, 0o2777, 0o2775
"""Modes of a kubelet's files and folders; with a group of the pod's volumes, root and that group own them."""


@dataclass(frozen=True)
class User:
    """Of a pod: its user, its group, and the group of its volumes."""

    uid: int
    gid: int
    volumes: int

    @property
    def options(self) -> tuple[str, ...]:
        """No entry in /etc/passwd: Kubernetes makes none, and podman would."""
        return ("--user", f"{self.uid}:{self.gid}", "--group-add", str(self.volumes), "--passwd=false")


class Pod(Container):
    """Its only container, by the chart's render; `files` are those of Secrets and ConfigMaps."""

    def __init__(self, image: str, pod: Object, user: User, place: Place, files: Files) -> None:
        runs = container_of(pod)
        options = [*LIMITS, "--network", "host", "--pull", "never", *_security(runs["securityContext"]), *user.options]
        for variable in runs["env"]:
            options += ["--env", f"{variable['name']}={variable['value']}"]
        kinds = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        for mount in runs["volumeMounts"]:
            options += _mount(place.folder, mount, kinds[mount["name"]], user, files.get(mount["mountPath"], {}))
        arguments = [place.here(argument) for argument in runs["args"]]
        self.id = podman("run", "--detach", *options, image, *arguments).strip()


def _security(context: Object) -> list[str]:
    """podman's options for the security context that every container of the chart has."""
    assert context == {
        "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True,
    }, context  # fmt: skip
    return ["--security-opt", "no-new-privileges", "--cap-drop", "ALL", "--read-only", "--read-only-tmpfs=false"]


def _mount(folder: Path, mount: Object, volume: Object, user: User, files: Mapping[str, str]) -> list[str]:
    path = mount["mountPath"]
    if volume.get("emptyDir", {}).get("medium") == "Memory":
        size = volume["emptyDir"]["sizeLimit"].removesuffix("i").lower()
        return ["--mount", f"type=tmpfs,destination={path},tmpfs-mode=0777,tmpfs-size={size}"]
    here = folder / mount["name"]
    here.mkdir(exist_ok=True)
    for name, text in files.items():
        (here / name).write_text(text)
        (here / name).chmod(CONFIG if "configMap" in volume else SECRET)
        os.chown(here / name, 0, user.volumes)
    os.chown(here, 0, user.volumes)
    here.chmod(EMPTY if "emptyDir" in volume else CLAIM if "persistentVolumeClaim" in volume else 0o755)
    return ["--volume", f"{here}:{path}{':ro' if mount.get('readOnly') else ''}"]


def run_pod(stack: ExitStack, image: str, pod: Object, user: User, place: Place, files: Files) -> Pod:
    """A started one, removed at the end."""
    container = Pod(image, pod, user, place, files)
    stack.callback(shutil.rmtree, place.folder, ignore_errors=True)
    stack.callback(podman, "rm", "--force", "--volumes", "--time", "15", container.id)
    return container
