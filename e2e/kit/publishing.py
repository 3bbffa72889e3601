"""Policies as others publish them, served on loopback: a repository's tarball, a package index, a Go module proxy."""

from __future__ import annotations

import base64
import io
import json
import tarfile
import zipfile
from pathlib import Path

from e2e.kit.upstream import Recorded, Reply, Upstream

USER, PASSWORD, TOKEN = "robot", "s3cret-index-w0rd", "t0p-secret-t0ken"


class Publisher(Upstream):
    """`files` are its files by path. Below /simple it requires the index's credentials, elsewhere the token."""

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, bytes] = {}
        self.reply = self._serve_file

    def _serve_file(self, request: Recorded) -> Reply:
        basic = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        credential = basic if request.target.startswith("/simple") else f"Bearer {TOKEN}"
        if request.value("authorization") != credential:
            return Reply(401, [("www-authenticate", "Basic")])
        if request.target not in self.files:
            return Reply(404)
        kind = "text/html" if request.target.endswith("/") else "application/octet-stream"
        return Reply(200, [("content-type", kind)], self.files[request.target])

    def publish_repository(self, name: str, ref: str, folders: dict[str, Path]) -> None:
        """Serves the tarball that GitHub would make of name (ORGANISATION/REPOSITORY) at ref."""
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w:gz") as archive:
            for inside, folder in folders.items():
                for path in sorted(folder.iterdir()):
                    archive.add(path, f"{name.split('/')[1]}-{ref}/{inside}/{path.name}")
        self.files[f"/{name}/tar.gz/{ref}"] = file.getvalue()

    def publish_package(self, name: str, version: str, folder: Path, requires: str) -> None:
        """Serves a wheel whose one module folder is a policy."""
        module = name.replace("-", "_")
        files = {f"{module}/{path.name}": path.read_bytes() for path in folder.iterdir()}
        wheel, content = make_wheel(name, version, files, {"License-Expression": "MIT", "Requires-Dist": requires})
        self.files[f"/simple/{name}/{wheel}"] = content
        self.files[f"/simple/{name}/"] = f'<a href="{wheel}">{wheel}</a>'.encode()

    @property
    def index(self) -> str:
        """The package index's address, with credentials."""
        return f"http://{USER}:{PASSWORD}@127.0.0.1:{self.port}/simple"


def make_wheel(name: str, version: str, files: dict[str, bytes], more: dict[str, str]) -> tuple[str, bytes]:
    """The name and the bytes of a wheel with these files. more: further fields of its METADATA."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    fields = {"Metadata-Version": "2.4", "Name": name, "Version": version} | more
    metadata = "".join(f"{key}: {value}\n" for key, value in fields.items())
    about = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    content = files | {f"{info}/METADATA": metadata.encode(), f"{info}/WHEEL": about.encode()}
    content[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in content).encode()
    return f"{module}-{version}-py3-none-any.whl", _zipped(content)


def publish_module(proxy: Path, module: str, version: str, folder: Path) -> None:
    """Writes a version of a Go module into a folder that GOPROXY may name."""
    files = {f"{module}@{version}/{path.name}": path.read_bytes() for path in folder.iterdir()}
    at = proxy / module / "@v"
    at.mkdir(parents=True)
    (at / f"{version}.zip").write_bytes(_zipped(files))
    (at / f"{version}.mod").write_bytes((folder / "go.mod").read_bytes())
    (at / f"{version}.info").write_text(json.dumps({"Version": version, "Time": "2026-01-01T00:00:00Z"}))
    (at / "list").write_text(f"{version}\n")


def _zipped(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()
