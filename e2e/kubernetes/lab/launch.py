"""What a container of a pod is started with: its command, environment and mounts."""

from __future__ import annotations

import re
from pathlib import Path

from e2e.kubernetes.lab.client import AsyncClient, Json
from e2e.kubernetes.lab.container import Launch
from e2e.kubernetes.lab.control_plane import PORT
from e2e.kubernetes.lab.files import config_map_data, field_of, secret_data
from e2e.kubernetes.lab.images import SEARCH_PATH, Image
from e2e.kubernetes.lab.network import HOST

REFERENCE = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")


async def launch_of(client: AsyncClient, pod: Json, spec: Json, image: Image, address: str, volumes: Path) -> Launch:
    """LookupError where a variable names what is not there. The pod reaches the API server by the bridge."""
    placed = pod | {"status": pod.get("status", {}) | {"podIP": address, "hostIP": HOST}}
    environment = {
        "PATH": SEARCH_PATH, "HOME": "/root", "HOSTNAME": pod["metadata"]["name"],
        "KUBERNETES_SERVICE_HOST": HOST, "KUBERNETES_SERVICE_PORT": str(PORT), **image.environment,
    }  # fmt: skip
    for source in spec.get("envFrom", []):
        environment |= await _all_of(client, placed, source)
    for variable in spec.get("env", []):
        environment[variable["name"]] = _expand(await _value(client, placed, variable), environment)
    arguments = [_expand(word, environment) for word in spec.get("args", [])]
    command = [_expand(word, environment) for word in spec.get("command", image.entrypoint)]
    mounts = {mount["mountPath"]: _source(mount, volumes) for mount in spec.get("volumeMounts", [])}
    namespace = pod["metadata"]["namespace"]
    search = " ".join((f"{namespace}.svc.cluster.local", "svc.cluster.local", "cluster.local"))
    files = {"/etc/resolv.conf": f"nameserver {HOST}\nsearch {search}\noptions ndots:5\n"}
    return Launch([*command, *arguments], environment, mounts | dict(image.mounts), files, spec.get("workingDir", "/"))


def _source(mount: Json, volumes: Path) -> Path:
    return Path(volumes, mount["name"], mount.get("subPath", ""))


async def _all_of(client: AsyncClient, pod: Json, source: Json) -> dict[str, str]:
    namespace = pod["metadata"]["namespace"]
    if "secretRef" in source:
        data = await secret_data(client, namespace, source["secretRef"]["name"])
    else:
        data = await config_map_data(client, namespace, source["configMapRef"]["name"])
    return {source.get("prefix", "") + key: value.decode() for key, value in data.items()}


async def _value(client: AsyncClient, pod: Json, variable: Json) -> str:
    namespace = pod["metadata"]["namespace"]
    match variable.get("valueFrom"):
        case None:
            return str(variable.get("value", ""))
        case {"fieldRef": {"fieldPath": path}}:
            return str(field_of(pod, path))
        case {"secretKeyRef": {"name": name, "key": key}}:
            return (await secret_data(client, namespace, name))[key].decode()
        case {"configMapKeyRef": {"name": name, "key": key}}:
            return (await config_map_data(client, namespace, name))[key].decode()
        case source:
            raise ValueError(f"{variable['name']}: expected a source that the lab knows, got {sorted(source)}")


def _expand(text: str, environment: dict[str, str]) -> str:
    return REFERENCE.sub(lambda found: environment.get(found[1], found[0]), text)
