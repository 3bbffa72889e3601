"""The echo upstream as the command that it is, with clients that send odd bytes."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import pytest
from gatewright_cli.node.listeners.ports import free_port


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    port = free_port("127.0.0.1")
    command = [sys.executable, "-m", "gatewright_cli", "echo", "--listen", f"127.0.0.1:{port}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        wait_until_it_listens(port)
        yield port
        process.terminate()
        assert process.stderr is not None
        assert json.loads(process.stderr.read())["address"] == f"127.0.0.1:{port}"
        assert process.wait(60) in (0, -15)


def wait_until_it_listens(port: int) -> None:
    until = time.monotonic() + 30.0
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    pytest.fail("the echo upstream does not listen")


def test_the_request_as_it_came(port: int) -> None:
    headers = [("X-One", "1"), ("x-one", "2")]
    answer = httpx.post(f"http://127.0.0.1:{port}/a%2Fb//c?x=1&x=2", headers=headers, content="grüße", trust_env=False)
    assert (answer.status_code, answer.headers["x-upstream"]) == (200, "echo")
    description = answer.json()
    assert (description["method"], description["path"], description["query"]) == ("POST", "/a%2Fb//c", "x=1&x=2")
    assert (description["body"], description["bodyEncoding"]) == ("grüße", "utf-8")
    assert [value for name, value in description["headers"] if name == "x-one"] == ["1", "2"]


def test_bytes_that_are_no_text_are_not_lost(port: int) -> None:
    request = b"PUT / HTTP/1.1\r\nhost: x\r\nx-bin: \xff\xfe\r\ncontent-length: 2\r\nconnection: close\r\n\r\n\xff\x00"
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(request)
        _, _, body = b"".join(iter(lambda: client.recv(65536), b"")).partition(b"\r\n\r\n")
    description = json.loads(body)
    assert ["x-bin", "\xff\xfe"] in description["headers"]
    assert (description["body"], description["bodyEncoding"]) == ("\xff\x00", "latin-1")


def test_a_head_request_has_the_headers_alone(port: int) -> None:
    answer = httpx.head(f"http://127.0.0.1:{port}/", trust_env=False)
    assert (answer.status_code, answer.content) == (200, b"")
