from __future__ import annotations

import pytest
from gatewright_cli.addresses import http_address, join_address, split_address


def test_addresses() -> None:
    assert split_address("127.0.0.1:80") == ("127.0.0.1", 80)
    assert split_address("[::1]:80") == ("::1", 80)
    assert join_address("::1", 80) == "[::1]:80"


def test_addresses_of_urls() -> None:
    addresses = [http_address(url) for url in ("http://[::1]:80/x", "http://a", "https://a", "http://a:b", "a", "")]
    assert addresses == [("::1", 80), ("a", 80), None, None, None, None]


@pytest.mark.parametrize("bad", ["80", ":80", "host:", "host:x", "host:65536"])
def test_bad_addresses(bad: str) -> None:
    with pytest.raises(ValueError, match=f"expected HOST:PORT, got '{bad}'"):
        split_address(bad)
