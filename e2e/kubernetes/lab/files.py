"""Volumes of pods, as files of a folder: Secrets, ConfigMaps, tokens, fields of the pod, empty folders."""

from __future__ import annotations

import base64
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from e2e.kubernetes.lab.client import AsyncClient, Json, collection

TOKEN_SECONDS = 24 * 3600


DATA = "..data"
"""The link to the folder that has the files, as a kubelet makes it: all of a volume's files change at once."""


async def write_volume(client: AsyncClient, pod: Json, volume: Json, folder: Path, claims: Path) -> None:
    """Fills the volume's folder, or replaces what is in it. claims: where volumes lie that outlast a pod."""
    if "emptyDir" in volume:
        folder.mkdir(parents=True, exist_ok=True)
        return
    if "persistentVolumeClaim" in volume:
        claim = claims / f"{pod['metadata']['namespace']}.{volume['persistentVolumeClaim']['claimName']}"
        claim.mkdir(parents=True, exist_ok=True)
        folder.symlink_to(claim)
        return
    contents = await _contents(client, pod, volume)
    folder.mkdir(parents=True, exist_ok=True)
    for name in _replace(folder, contents):
        link = folder / name
        if not link.is_symlink():
            link.symlink_to(f"{DATA}/{name}")
    for link in folder.iterdir():
        if not link.exists():
            link.unlink()


def _replace(folder: Path, contents: dict[str, bytes]) -> set[str]:
    """Returns the names of what lies at the top."""
    data, before = folder / DATA, (folder / DATA).resolve()
    fresh = Path(tempfile.mkdtemp(prefix="..", dir=folder))
    fresh.chmod(0o755)
    for name, content in contents.items():
        file = fresh / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    new_link = folder / "..data.new"
    new_link.symlink_to(fresh.name)
    new_link.rename(data)
    if before.name != DATA:
        shutil.rmtree(before)
    return {Path(name).parts[0] for name in contents}


def sources_of(pod: Json) -> set[tuple[str, str]]:
    """Kind and name of each Secret and ConfigMap that its volumes are of, without tokens and fields."""
    found = set()
    for volume in pod["spec"].get("volumes", []):
        for source in volume.get("projected", {}).get("sources", [volume]):
            if "secret" in source:
                found.add(("Secret", source["secret"].get("secretName") or source["secret"]["name"]))
            if "configMap" in source:
                found.add(("ConfigMap", source["configMap"]["name"]))
    return found


async def _contents(client: AsyncClient, pod: Json, volume: Json) -> dict[str, bytes]:
    namespace = pod["metadata"]["namespace"]
    match volume:
        case {"secret": source}:
            return await _of_secret(client, namespace, source["secretName"], source)
        case {"configMap": source}:
            return await _of_config_map(client, namespace, source["name"], source)
        case {"projected": {"sources": sources}}:
            return await _projected(client, pod, sources)
    raise ValueError(f"expected a volume of secret, configMap, projected or emptyDir, got {sorted(volume)}")


async def _projected(client: AsyncClient, pod: Json, sources: list[Json]) -> dict[str, bytes]:
    namespace, found = pod["metadata"]["namespace"], dict[str, bytes]()
    for source in sources:
        match source:
            case {"secret": of}:
                found |= await _of_secret(client, namespace, of["name"], of)
            case {"configMap": of}:
                found |= await _of_config_map(client, namespace, of["name"], of)
            case {"downwardAPI": {"items": items}}:
                found |= {item["path"]: str(field_of(pod, item["fieldRef"]["fieldPath"])).encode() for item in items}
            case {"serviceAccountToken": of}:
                found[of["path"]] = await _token(client, pod, of)
            case _:
                raise ValueError(f"expected a source that the lab knows, got {sorted(source)}")
    return found


async def _token(client: AsyncClient, pod: Json, source: Json) -> bytes:
    account = pod["spec"].get("serviceAccountName", "default")
    path = f"{collection('v1', 'ServiceAccount', pod['metadata']['namespace'])}/{account}/token"
    spec = {"audiences": [source["audience"]] if "audience" in source else [], "expirationSeconds": TOKEN_SECONDS}
    document = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    token: str = (await client.post(path, document))["status"]["token"]
    return token.encode()


async def secret_data(client: AsyncClient, namespace: str, name: str) -> dict[str, bytes]:
    secret = await client.get(f"{collection('v1', 'Secret', namespace)}/{name}")
    return {key: base64.b64decode(value) for key, value in secret.get("data", {}).items()}


async def config_map_data(client: AsyncClient, namespace: str, name: str) -> dict[str, bytes]:
    found = await client.get(f"{collection('v1', 'ConfigMap', namespace)}/{name}")
    binary = {key: base64.b64decode(value) for key, value in found.get("binaryData", {}).items()}
    return {key: value.encode() for key, value in found.get("data", {}).items()} | binary


async def _of_secret(client: AsyncClient, namespace: str, name: str, source: Json) -> dict[str, bytes]:
    return _chosen(await _data_unless_optional(secret_data, client, namespace, name, source), source.get("items"))


async def _of_config_map(client: AsyncClient, namespace: str, name: str, source: Json) -> dict[str, bytes]:
    return _chosen(await _data_unless_optional(config_map_data, client, namespace, name, source), source.get("items"))


async def _data_unless_optional(
    read: Callable[[AsyncClient, str, str], Awaitable[dict[str, bytes]]],
    client: AsyncClient,
    namespace: str,
    name: str,
    source: Json,
) -> dict[str, bytes]:
    try:
        return await read(client, namespace, name)
    except LookupError:
        if source.get("optional"):
            return {}
        raise


def _chosen(data: dict[str, bytes], items: Iterable[Json] | None) -> dict[str, bytes]:
    return data if items is None else {item["path"]: data[item["key"]] for item in items if data}


def field_of(pod: Json, path: str) -> object:
    """A field of the downward API, such as metadata.name or metadata.labels['app']."""
    if path.endswith("']"):
        path, key = path.removesuffix("']").split("['")
        labels = field_of(pod, path)
        return labels.get(key, "") if isinstance(labels, dict) else ""
    found: object = pod
    for name in path.split("."):
        found = found.get(name, "") if isinstance(found, dict) else ""
    return found
