"""Shared by the builder's tests: a product in small, packages made on the spot, and golden files with --update."""

from __future__ import annotations

import contextlib
import http.server
import io
import json
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from gatewright_builder import stock_engine
from gatewright_builder.build import BuildOptions, BuildResult, build
from gatewright_builder.discovery import discover_policy
from gatewright_builder.events import Step
from gatewright_builder.fetching.location import locate
from gatewright_builder.fetching.source_request import FetchLimits
from gatewright_builder.manifest import Entry, Manifest
from gatewright_builder.mistake import refuse_if_any
from gatewright_builder.origin import Kind, Origin, Pin
from gatewright_builder.policy import Policy
from gatewright_builder.tree import Tree, write_tree

TESTDATA = Path(__file__).parent / "testdata"
Find = Callable[..., Origin]
collect_ignore = ["testdata"]


def pytest_addoption(parser: pytest.Parser) -> None:
    with contextlib.suppress(ValueError):  # another component's tests may have it too
        parser.addoption("--update", action="store_true", help="rewrite golden files with what came out")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "compiles: runs the Go compiler")


@pytest.fixture
def update(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be rewritten."""
    return bool(request.config.getoption("--update"))


@pytest.fixture
def product() -> Path:
    """A source root that takes no time to copy and to compile."""
    return TESTDATA / "product"


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the product's stock engine is compiled once for all tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def cache(session_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the user's own cache and records."""
    monkeypatch.setenv("GATEWRIGHT_CACHE_DIR", str(session_cache))
    monkeypatch.setenv("GATEWRIGHT_RECORDS_DIR", str(session_cache / "records"))
    return session_cache


@pytest.fixture
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, for a test that looks into it."""
    monkeypatch.setenv("GATEWRIGHT_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def uv_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """uv's cache, which has what it asks an interpreter in a process of its own, and wheels by their folder."""
    return tmp_path_factory.mktemp("uv-cache")


@pytest.fixture
def packages(tmp_path: Path, offer_packages: Callable[[Path], None]) -> Path:
    """The only packages that uv finds: made here, so no test asks a registry."""
    folder = tmp_path / "packages"
    write_packages(folder)
    offer_packages(folder)
    return folder


@pytest.fixture(name="write_packages")
def _write_packages() -> Callable[[Path], None]:
    """write_packages, for folders that several tests share."""
    return write_packages


def write_packages(folder: Path) -> None:
    folder.mkdir()
    for name, versions in (("tiny-rpc", ("1.1", "1.2", "1.3")), ("colour", ("1.0", "2.4"))):
        for version in versions:
            write_wheel(folder, name, version)
    for name, wants in (("dark-kit", "colour<2"), ("light-kit", "colour>=2"), ("old-kit", "tiny-rpc<1.2")):
        write_wheel(folder, name, "1.0", requires=(wants,))
    write_wheel(folder, "clash", "1.0", {"policies/__init__.py": b""})


@pytest.fixture
def offer_packages(uv_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Makes those of a folder the only packages that uv finds."""

    def offer(folder: Path) -> None:
        monkeypatch.setenv("UV_NO_INDEX", "1")
        monkeypatch.setenv("UV_OFFLINE", "1")
        monkeypatch.setenv("UV_FIND_LINKS", str(folder))
        monkeypatch.setenv("UV_CACHE_DIR", str(uv_cache))

    return offer


@pytest.fixture
def discovered() -> Callable[[Path], Policy]:
    """Reads the policy in a folder, as an entry `sample` of a build.yaml finds it."""

    def read(folder: Path) -> Policy:
        entry = Entry("sample", Kind.FILE_PATH, "sample", 1)
        return discover_policy(entry, Origin(Kind.FILE_PATH, "sample", "sample", folder, "sample"))

    return read


def write_wheel(
    folder: Path, name: str, version: str, files: Tree | None = None, requires: tuple[str, ...] = (), fields: str = ""
) -> Path:
    """A wheel with these files, by default of one module that says its VERSION."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    asks = "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    metadata = f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{fields}{asks}"
    about = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    inside = files or {f"{module}.py": f'VERSION = "{version}"\n'.encode()}
    inside = inside | {f"{info}/METADATA": metadata.encode(), f"{info}/WHEEL": about.encode()}
    path = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file, content in inside.items():
            wheel.writestr(file, content)
        wheel.writestr(f"{info}/RECORD", "".join(f"{file},,\n" for file in (*inside, f"{info}/RECORD")))
    return path


@pytest.fixture
def make_wheel() -> Callable[..., Path]:
    """write_wheel, for tests that make packages of their own."""
    return write_wheel


def _publish(proxy: Path, module: str, version: str, files: Tree) -> None:
    """A version of a module, as a module proxy has it."""
    go_mod = f"module {module}\n\ngo 1.26\n".encode()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        for name, content in ({"go.mod": go_mod} | files).items():
            made.writestr(f"{module}@{version}/{name}", content)
    info = json.dumps({"Version": version, "Time": "2026-01-01T00:00:00Z"}).encode()
    folder = proxy / module / "@v"
    known = {path.stem for path in folder.glob("*.info")} | {version}
    write_tree({f"{version}.info": info, f"{version}.mod": go_mod, f"{version}.zip": archive.getvalue()}, folder)
    (folder / "list").write_text("".join(f"{known_version}\n" for known_version in sorted(known)))


@pytest.fixture
def publish_module() -> Callable[..., None]:
    """Puts a version of a Go module into a module proxy."""
    return _publish


@pytest.fixture
def module_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The only place that Go finds modules in, empty."""
    folder, modules = tmp_path / "proxy", tmp_path / "modules"
    monkeypatch.setenv("GOPROXY", folder.as_uri())
    monkeypatch.setenv("GOSUMDB", "off")
    monkeypatch.setenv("GOMODCACHE", str(modules))
    yield folder
    for path in (modules, *modules.rglob("*")):  # Go takes the permission to write away
        if path.is_dir():
            path.chmod(0o700)


@dataclass
class Server:
    """A server on loopback that answers each path with what `answers` says, in turn; the last answer stays.

    `asked` is what came in, as (path, its Authorization header or "").
    """

    url: str
    answers: dict[str, list[tuple[int, dict[str, str], bytes]]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def answer(self, path: str, *answers: tuple[int, dict[str, str], bytes] | bytes) -> None:
        self.answers[path] = [(200, {}, item) if isinstance(item, bytes) else item for item in answers]

    def next(self, path: str, authorization: str) -> tuple[int, dict[str, str], bytes]:
        self.asked.append((path, authorization))
        waiting = self.answers.get(path, [(404, {}, b"")])
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """A server of its own, for as long as the context lasts."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = server.next(self.path, self.headers.get("Authorization", ""))
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # the client may go away early
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        server = Server(f"http://127.0.0.1:{listening.server_port}")
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        listening.shutdown()
        thread.join()


@pytest.fixture
def servers() -> Iterator[Callable[[], Server]]:
    """Makes servers that end with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(serving())


@pytest.fixture
def github(servers: Callable[[], Server], monkeypatch: pytest.MonkeyPatch) -> Server:
    """A server in place of GitHub, which is asked without a token."""
    server = servers()
    monkeypatch.setenv("GATEWRIGHT_GITHUB_URL", server.url)
    for name in ("GATEWRIGHT_GITHUB_TOKEN", "GITHUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return server


@pytest.fixture
def fetch_limits() -> FetchLimits:
    """Those of `find`, without long pauses; tests that are about one parametrize it."""
    return FetchLimits(pauses=(0.01, 0.01, 0.01))


@pytest.fixture
def find(fetch_limits: FetchLimits) -> Find:
    """Looks for the sources of one entry of a build.yaml in a folder."""

    def found(folder: Path, kind: Kind, source: str, pin: Pin | None = None, **more: str) -> Origin:
        entry = Entry(more.get("name", "sample"), kind, source, 3, more.get("group", ""), more.get("replace", ""))
        located = locate(
            Manifest(folder / "build.yaml", (entry,)), {entry.key: pin} if pin else {}, limits=fetch_limits
        )
        refuse_if_any(located.mistakes)
        return located.origins[0][1]

    return found


class Place:
    """A product with one Go policy that ships, and a build.yaml; `steps` are those that the last build reported."""

    def __init__(self, folder: Path, product: Path) -> None:
        self.folder, self.product = folder, folder / "product"
        shutil.copytree(product, self.product)
        shutil.copytree(TESTDATA / "policies", folder / "policies")
        shutil.copytree(TESTDATA / "policies" / "add-headers", self.product / "policies" / "add-headers")
        self.steps: list[str] = []

    def build(self, output: str, *entries: str, module: bool = False) -> BuildResult:
        text = "".join(f"  - {entry}\n" for entry in entries)
        (self.folder / "build.yaml").write_text(f"version: v1\npolicies:\n{text}")
        self.steps.clear()
        manifest = self.folder / "build.yaml"
        return build(BuildOptions(manifest, self.folder / output, self.say, source_root=self.product, module=module))

    def leave_to_wheel(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Makes the product what a wheel brings: the engine in the folder `wheel`, and no Go source."""
        monkeypatch.setattr(stock_engine, "SHIPPED", self.folder / "wheel")
        for folder in ("gateway-runtime/policy-engine", "sdk/go", "policies"):
            shutil.rmtree(self.product / folder)
        shutil.rmtree(self.folder / "cache")

    def say(self, event: object) -> None:
        if isinstance(event, Step) and "engine" in event.text:
            self.steps.append(event.text)


@pytest.fixture
def place(tmp_path: Path, product: Path) -> Place:
    return Place(tmp_path, product)
