"""The node's private sockets, and its management API: each is asked something that it would answer."""

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from .evidence import Evidence, RefusedError, evidence

SECONDS = 3.0
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))  # RFC 9113, 3.4
SETTINGS = 4
REQUEST = "GET {path} HTTP/1.1\r\nhost: {host}\r\n{more}connection: close\r\n\r\n"
QUESTIONS = {
    "http": REQUEST.format(path="/stats", host="admin", more="").encode(),
    "http2": HTTP2,
    "command": b'{"command": "status"}\n',
}


def ask(family: int, address: Any, question: bytes) -> bytes:
    """The beginning of the answer. Raises RefusedError where there is none."""
    with socket.socket(family) as connection:
        connection.settimeout(SECONDS)
        connection.connect(address)
        connection.sendall(question)
        answer = connection.recv(400)
    if not answer:
        raise RefusedError("closed without a word")
    return answer


def private(where: dict[str, Any]) -> Evidence:
    """where["sockets"] is {label: {"path", "speaks"}}."""

    def attempt(path: str, speaks: str) -> str:
        answer = ask(socket.AF_UNIX, path, QUESTIONS[speaks])
        if speaks == "http2" and answer[3] != SETTINGS:
            raise RefusedError(f"answered {answer[:9].hex()}")
        return repr(answer[:24])

    return evidence({name: partial(attempt, at["path"], at["speaks"]) for name, at in where["sockets"].items()})


def management(where: dict[str, Any]) -> Evidence:
    """Without a token, and with whatever looks like one."""
    port = where["ports"]["management"]

    def attempt(token: str = "") -> str:
        more = f"authorization: Bearer {token}\r\n" if token else ""
        question = REQUEST.format(path="/v1/apis", host=f"127.0.0.1:{port}", more=more)
        answer = ask(socket.AF_INET, ("127.0.0.1", port), question.encode()).split(b"\r\n")[0].decode()
        if " 200 " not in answer:
            raise RefusedError(answer)
        return answer

    def with_what_it_finds() -> str:
        refusal = RefusedError("found no token")
        for token in dict.fromkeys(tokens(where)):
            with suppress(RefusedError):
                return attempt(token)
            refusal = RefusedError("what it found is no token")
        raise refusal

    return evidence({"without a token": attempt, "with a token that it finds": with_what_it_finds})


def tokens(where: dict[str, Any]) -> Iterator[str]:
    files = [f"/proc/{at['pid']}/environ" for at in where["processes"].values()] + ["/proc/self/environ"]
    for file in files:
        with suppress(OSError):
            tokens_in_file = re.findall(rb"GATEWRIGHT_CONTROLLER_TOKEN=([^\0]+)", Path(file).read_bytes())
            yield from (token.decode() for token in tokens_in_file)
    with suppress(OSError):
        yield Path(where["token"]).read_text().strip()


def of_others(where: dict[str, Any]) -> Evidence:
    """Sockets of another program of the operator's, such as ssh-agent: with a path, and without (unix(7))."""
    addresses = {"with a path": where["unix"], "abstract": "\0" + where["abstract"]}
    return evidence({name: partial(ask, socket.AF_UNIX, to, b"hello\n") for name, to in addresses.items()})


TRIES: dict[str, Callable[[dict[str, Any]], Evidence]] = {
    "private-sockets": private,
    "management-api": management,
    "other-sockets": of_others,
}
