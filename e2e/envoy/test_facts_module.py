"""The behaviour of Envoy's dynamic modules that an engine inside Envoy relies on: docs/reference/envoy.md lists it.

`facts_module.c` is the module: a request says in x-script what its filters do, and each hook that Envoy calls is a line
of a log. A stream that is held waits until another request has a thread of the module's own send it an event.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
import yaml

from e2e.kit.gateway import Json, eventually
from e2e.kit.listening import free_port
from e2e.kit.lone_envoy import LoneEnvoy, add_static_routes, bootstrap, connection_manager, route
from e2e.kit.upstream import Recorded, Reply, Upstream
from e2e.kit.wire import Answer, Shape, http1

SOURCE = Path(__file__).with_name("facts_module.c")
COMPILER = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
MODULES = "type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3"
EXTENSION = "type.googleapis.com/envoy.extensions.bootstrap.dynamic_modules.v3.DynamicModuleBootstrapExtension"
TEXT = "type.googleapis.com/google.protobuf.StringValue"
MODULE = {"name": "facts", "do_not_close": True}
LARGE = 32 << 20
"""Bytes, more than Envoy and the sockets between hold for a client that does not read."""
numbers = itertools.count(1)

pytestmark = pytest.mark.skipif(
    COMPILER is None and not os.environ.get("C_COMPILER_REQUIRED"), reason="no C compiler; C_COMPILER_REQUIRED=1 fails"
)


def next_id() -> str:
    return f"r{next(numbers)}"


def compile_module(folder: Path, **macros: str) -> None:
    """Writes libfacts.so into the folder, at once: a process that has it loaded keeps what it has."""
    assert COMPILER, "expected a C compiler, cc, gcc or clang, since C_COMPILER_REQUIRED is set"
    defined = [f'-D{name}="{value}"' for name, value in macros.items()]
    options = ["-shared", "-fPIC", "-Wall", "-Werror", *defined]
    subprocess.run([COMPILER, *options, "-o", str(folder / "new.so"), str(SOURCE), "-lpthread"], check=True, timeout=60)
    (folder / "new.so").rename(folder / "libfacts.so")


def module_filter(name: str) -> Json:
    config = {"@type": f"{MODULES}.DynamicModuleFilter", "dynamic_module_config": MODULE, "filter_name": name}
    return {"name": f"facts.{name}", "disabled": True, "typed_config": config}


def module_route(name: str, *filters: str, cluster: str = "upstream") -> Json:
    """The route of /NAME/, which enables these filters. A stream may be held for long."""
    document = route(name, None, cluster, timeout="60s")
    per_route = {"@type": f"{MODULES}.DynamicModuleFilterPerRoute", "dynamic_module_config": MODULE}
    document["typed_per_filter_config"] = {f"facts.{name}": {**per_route, "filter_name": name} for name in filters}
    return document


class Module:
    """An Envoy with the filters `a` and `b` of the module, in this order, and the log of their hooks."""

    def __init__(self, folder: Path, upstream: Upstream) -> None:
        self.folder, self.log = folder, folder / "hooks.log"
        self.config = add_static_routes(bootstrap(folder), self._routes(), upstream)
        self.listener: Json = self.config["static_resources"]["listeners"][0]
        self.listener["address"]["socket_address"]["port_value"] = free_port()
        connection_manager(self.config)["http_filters"][-1:-1] = [module_filter("a"), module_filter("b")]
        self.log.touch()

    @staticmethod
    def _routes() -> list[Json]:
        answering = module_route("direct", "a")
        del answering["route"]
        answering["direct_response"] = {"status": 202}
        nowhere = module_route("nowhere", "a", cluster="nowhere")
        return [module_route("a", "a"), module_route("both", "a", "b"), module_route("none"), nowhere, answering]

    @contextlib.contextmanager
    def running(self, config: Json | None = None) -> Iterator[LoneEnvoy]:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("ENVOY_DYNAMIC_MODULES_SEARCH_PATH", str(self.folder))
            environment.setenv("FACTS_LOG", str(self.log))
            self.envoy = LoneEnvoy(self.folder, config or self.config)
        try:
            yield self.envoy
        finally:
            self.envoy.stop()

    def ask(self, path: str, script: str = "", *headers: tuple[str, str]) -> tuple[Answer, str]:
        """The answer to a GET, and its id, by which the log has its hooks."""
        number = next_id()
        shape = Shape(number, "GET", [("x-id", number), ("x-script", script), *headers])
        return http1(self.envoy.port, path, shape), number

    def send_event(self, to: str, event: str = "") -> None:
        """Has a thread of the module's commit an event to a stream that is held."""
        answer, _ = self.ask("/a/", f"send {event}", ("x-of", to))
        assert answer.status == 200

    def hooks(self, number: str) -> list[str]:
        """Each hook of a request as `FILTER HOOK`, in the order of the calls."""
        lines = [line.partition(" ") for line in self.log.read_text().splitlines()]
        return [hook for request, _, hook in lines if request == number]

    def wait_for(self, number: str, hook: str) -> None:
        eventually(f"{number}: {hook}", lambda: hook in self.hooks(number))


@pytest.fixture(scope="module")
def shared(recording_upstream: Upstream) -> Iterator[Module]:
    with tempfile.TemporaryDirectory(prefix="gw-") as name:
        compile_module(Path(name))
        module = Module(Path(name), recording_upstream)
        config = listed_in_a_file(module)
        with module.running(config) as envoy:
            envoy.wait_ready()
            yield module


def listed_in_a_file(module: Module) -> Json:
    """The configuration with its listener in a file that Envoy watches."""
    write_listener(module)
    found = {"path_config_source": {"path": str(module.folder / "listeners.yaml")}}
    static = {**module.config["static_resources"], "listeners": []}
    return {**module.config, "static_resources": static, "dynamic_resources": {"lds_config": found}}


def write_listener(module: Module) -> None:
    kind = "type.googleapis.com/envoy.config.listener.v3.Listener"
    new = module.folder / "new.yaml"
    new.write_text(yaml.safe_dump({"resources": [{"@type": kind, **module.listener}]}))
    new.rename(module.folder / "listeners.yaml")


@pytest.fixture
def module(shared: Module, upstream: Upstream) -> Module:
    upstream.reset()
    return shared


# ---------------------------------------------------------------- hooks and their order


def test_only_the_filters_that_a_route_enables_are_made_and_a_response_meets_them_in_reverse(module: Module) -> None:
    answer, number = module.ask("/both/x")
    assert answer.status == 200
    module.wait_for(number, "a destroy")
    hooks = [hook for hook in module.hooks(number) if hook.endswith(("new", "headers", "end"))]
    assert hooks == [
        "a new", "b new", "a request_headers end", "b request_headers end",
        "b response_headers", "a response_headers", "b response_body end", "a response_body end",
    ]  # fmt: skip
    _, other = module.ask("/a/x")
    assert not [hook for hook in module.hooks(other) if hook.startswith("b ")]
    _, none = module.ask("/none/x")
    assert module.hooks(none) == []


def test_an_answer_of_the_module_meets_the_other_filters_and_not_its_own(module: Module, upstream: Upstream) -> None:
    """A filter behind it has its response hooks called, of a stream that it has never decoded: envoy#45854."""
    answer, number = module.ask("/both/x", "answer")
    assert (answer.status, answer.body, upstream.received) == (403, b"denied", [])
    module.wait_for(number, "b destroy")
    hooks = module.hooks(number)
    assert "b response_headers" in hooks
    assert "b request_headers end" not in hooks
    assert "a response_headers" not in hooks


def test_an_answer_of_the_module_to_a_grpc_call_has_the_status_0(module: Module) -> None:
    """Whatever its status of HTTP is: the module adds the header itself."""
    answer, _ = module.ask("/a/x", "answer", ("content-type", "application/grpc"))
    assert (answer.status, answer.value("grpc-status")) == (200, "0")


@pytest.mark.parametrize(("path", "status"), [("/nowhere/x", 503), ("/direct/x", 202)])
def test_an_answer_of_envoys_own_reaches_the_response_hook(module: Module, path: str, status: int) -> None:
    answer, number = module.ask(path)
    assert answer.status == status
    assert answer.value("x-build") is not None
    assert any(hook.startswith("a response_headers") for hook in module.hooks(number))


def test_a_header_without_a_value_can_be_neither_set_nor_added(module: Module, upstream: Upstream) -> None:
    module.ask("/a/x", "set-empty", ("x-empty", "some"))
    module.ask("/a/x", "add-empty")
    module.ask("/a/x", "", ("x-empty", ""))
    assert [request.values("x-empty") for request in upstream.received] == [[], [], [b""]]


# ---------------------------------------------------------------- streams that are held


@contextlib.contextmanager
def held(module: Module, script: str, *sent: bytes) -> Iterator[tuple[str, socket.socket]]:
    """A request that a filter holds, with a body in chunks, of which these are sent and others may follow."""
    number = next_id()
    head = (
        f"POST /a/x HTTP/1.1\r\nhost: a\r\nx-id: {number}\r\nx-script: {script}\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", module.envoy.port), timeout=30) as connection:
        connection.sendall(head.encode() + b"".join(map(chunk, sent)))
        yield number, connection


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


END = b""
"""The last chunk."""


def posted(upstream: Upstream) -> list[bytes]:
    """The bodies of the requests that the tests hold; those that send events have none."""
    return [request.body for request in upstream.received if request.method == "POST"]


def test_a_thread_of_the_modules_own_lets_a_stream_go_on_with_its_whole_body(
    module: Module, upstream: Upstream
) -> None:
    """envoy#44841, and envoy#46439: what came while the stream was held goes on once, through the body hook."""
    with held(module, "hold-request", b"abc") as (number, connection):
        module.wait_for(number, "a request_headers")
        module.send_event(number)
        module.wait_for(number, "a request_body")
        connection.sendall(chunk(b"def") + chunk(END))
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert posted(upstream) == [b"abcdef"]


def test_nothing_of_a_body_goes_on_while_its_direction_is_held(module: Module, upstream: Upstream) -> None:
    """What the module appends waits too: there is no sending a body in pieces before the headers go on."""
    with held(module, "hold-request", b"abc", END) as (number, connection):
        module.wait_for(number, "a request_headers")
        module.send_event(number, "append")
        module.wait_for(number, "a appended")
        assert not [hook for hook in module.hooks(number) if "request_body" in hook]
        assert posted(upstream) == []
        module.send_event(number)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert posted(upstream) == [b"abc+"]


def test_a_held_stream_may_be_answered(module: Module, upstream: Upstream) -> None:
    with held(module, "hold-request", b"abc") as (number, connection):
        module.wait_for(number, "a request_headers")
        module.send_event(number, "reject")
        assert connection.recv(1000).startswith(b"HTTP/1.1 403 ")
    assert posted(upstream) == []


def test_a_held_response_goes_on_when_it_is_told_to(module: Module) -> None:
    with held(module, "hold-response", b"abc", END) as (number, connection):
        module.wait_for(number, "a response_headers")
        assert not [hook for hook in module.hooks(number) if "response_body" in hook]
        module.send_event(number)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert "a response_body end" in module.hooks(number)


def test_an_event_for_a_stream_that_is_gone_is_dropped(module: Module) -> None:
    """The scheduler outlives its stream here, and Envoy looks whether there still is one."""
    with held(module, "hold-request", b"abc") as (number, connection):
        module.wait_for(number, "a request_headers")
        connection.close()
        module.wait_for(number, "a destroy")
    module.send_event(number)
    module.send_event(number)
    assert module.hooks(number)[-1] == "a destroy"
    assert module.hooks(number).count("a destroy") == 1


def test_a_held_body_is_not_read_beyond_the_limit_of_the_stream(module: Module, upstream: Upstream) -> None:
    """The client is made to wait, and the body arrives whole once the stream goes on."""
    paused = "http.gatewright.downstream_flow_control_paused_reading_total"
    before = module.envoy.stat(paused)
    with held(module, "hold-request") as (number, connection):
        sender = threading.Thread(target=connection.sendall, args=(chunk(bytes(LARGE)) + chunk(END),))
        sender.start()
        eventually("Envoy reads no more of the body", lambda: module.envoy.stat(paused) > before)
        assert posted(upstream) == []
        module.send_event(number)
        sender.join()
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert [len(body) for body in posted(upstream)] == [LARGE]


def test_a_filter_is_told_of_a_full_connection_only_once_it_is_made(module: Module, upstream: Upstream) -> None:
    """envoy#44621: a connection of HTTP/2 whose client reads nothing is full for a new stream as well."""
    upstream.reply = large_reply
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    connection.initiate_connection()
    connection.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1 << 30})
    connection.increment_flow_control_window(1 << 30)
    requests = [next_id(), next_id()]
    with socket.create_connection(("127.0.0.1", module.envoy.port), timeout=30) as client:
        for number, stream in zip(requests, (1, 3), strict=True):
            head = [(":method", "GET"), (":path", "/a/x"), (":authority", "a"), (":scheme", "http"), ("x-id", number)]
            connection.send_headers(stream, head, end_stream=True)
            client.sendall(connection.data_to_send())
            module.wait_for(number, "a above")
        ended: set[int] = set()
        while len(ended) < 2:
            events = connection.receive_data(client.recv(1 << 20))
            ended |= {event.stream_id for event in events if isinstance(event, h2.events.StreamEnded)}
    for number in requests:
        assert module.hooks(number)[0] == "a new"


def large_reply(request: Recorded) -> Reply:
    return Reply(200, [], bytes(LARGE) if request.method == "GET" else b"")


# ---------------------------------------------------------------- the module itself


def test_a_module_that_has_been_replaced_on_disk_stays_as_it_was(module: Module) -> None:
    compile_module(module.folder, BUILD="second")
    connection_manager({"static_resources": {"listeners": [module.listener]}})["server_name"] = "changed"
    write_listener(module)
    eventually("Envoy has the new listener", lambda: module.ask("/a/x")[0].value("server") == "changed")
    assert module.ask("/a/x")[0].value("x-build") == "first"


@pytest.fixture
def own(recording_upstream: Upstream) -> Iterator[Module]:
    with tempfile.TemporaryDirectory(prefix="gw-") as name:
        yield Module(Path(name), recording_upstream)


def test_a_module_of_another_abi_is_loaded_all_the_same(own: Module) -> None:
    compile_module(own.folder, ABI_VERSION="v0.0.1")
    with own.running() as envoy:
        envoy.wait_ready()
        assert own.ask("/a/x")[0].status == 200


def with_extension(module: Module, config: str) -> Json:
    extension = {
        "@type": EXTENSION, "dynamic_module_config": MODULE, "extension_name": "facts",
        "extension_config": {"@type": TEXT, "value": config},
    }  # fmt: skip
    return {
        **module.config,
        "bootstrap_extensions": [{"name": "envoy.bootstrap.dynamic_modules", "typed_config": extension}],
    }


def test_a_bootstrap_extension_is_there_before_envoy_asks_for_xds(own: Module) -> None:
    compile_module(own.folder)
    config = with_extension(own, str(own.folder / "xds"))
    config["dynamic_resources"] = bootstrap(own.folder)["dynamic_resources"]
    with own.running(config) as envoy:
        eventually("Envoy's admin answers", envoy.answers)
        eventually("Envoy asks for xDS", lambda: envoy.stat("cluster.gatewright_xds.upstream_cx_total") > 0)
        assert envoy.stat("cluster.gatewright_xds.upstream_cx_connect_fail") == 0
        assert envoy.stat("cluster.gatewright_xds.upstream_cx_total") == 1


def test_envoy_does_not_start_without_its_bootstrap_extension(own: Module) -> None:
    compile_module(own.folder)
    config = with_extension(own, "none")
    with own.running(config) as envoy:
        eventually("Envoy has ended", lambda: envoy.ended() is not None)
        assert envoy.ended() == 1
