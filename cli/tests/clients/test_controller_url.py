from __future__ import annotations

import pytest
from gatewright_cli.clients.controller_url import ControllerUrlError, read_controller_url


@pytest.mark.parametrize(("text", "url", "encrypted", "is_here"), [
    ("http://127.0.0.1:9090", "http://127.0.0.1:9090", False, True),
    ("http://127.0.0.1:9090/", "http://127.0.0.1:9090", False, True),
    ("http://127.8.8.8", "http://127.8.8.8", False, True),
    ("http://[::1]:9090", "http://[::1]:9090", False, True),
    ("http://localhost:9090", "http://localhost:9090", False, True),
    ("http://LOCALHOST:9090", "http://LOCALHOST:9090", False, True),
    ("http://gateway.localhost", "http://gateway.localhost", False, True),
    ("http://10.0.0.5:9090", "http://10.0.0.5:9090", False, False),
    ("http://0.0.0.0:9090", "http://0.0.0.0:9090", False, False),
    ("http://[fd00::1]", "http://[fd00::1]", False, False),
    ("http://localhost.example", "http://localhost.example", False, False),
    ("http://127.0.0.1.example:9090", "http://127.0.0.1.example:9090", False, False),
    ("https://gateway.example", "https://gateway.example", True, False),
    ("HTTPS://gateway.example:9443", "https://gateway.example:9443", True, False),
])  # fmt: skip
def test_a_url_of_a_controller(text: str, url: str, encrypted: bool, is_here: bool) -> None:
    found = read_controller_url(text)
    assert (found.text, found.encrypted, found.is_here) == (url, encrypted, is_here)


@pytest.mark.parametrize(("text", "expected"), [
    ("", "expected a URL such as https://gateway.example:9443 or http://127.0.0.1:9090, got ''"),
    ("127.0.0.1:9090", "expected a URL such as"),
    ("gateway:9090", "expected a URL such as"),
    ("unix:/run/x", "expected a URL such as"),
    ("ftp://gateway.example", "expected a URL such as"),
    ("https://", "expected a URL such as"),
    ("https://gateway.example:0", "expected a URL such as"),
    ("https://gateway.example:99999", "Port out of range"),
    ("https://[::1", "expected a URL such as"),
    ("https://me:secret@gateway.example", "expected a URL without user and password, got one with"),
    ("https://gateway.example/v1", "expected a URL without a path, a query and a fragment, got"),
    ("https://gateway.example/?a=b", "expected a URL without a path, a query and a fragment, got"),
    ("https://gateway.example/#token=s", "expected a URL without a path, a query and a fragment, got"),
])  # fmt: skip
def test_invalid_urls_of_a_controller(text: str, expected: str) -> None:
    with pytest.raises(ControllerUrlError, match=expected) as caught:
        read_controller_url(text)
    assert "secret" not in str(caught.value)
