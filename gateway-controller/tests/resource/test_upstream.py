from __future__ import annotations

import pytest
from gatewright_controller.model import UpstreamProtocol
from gatewright_controller.resource.upstream import UpstreamUrl, UrlError, parse_url


@pytest.mark.parametrize(
    ("url", "expected", "authority"),
    [
        (
            "http://orders.internal:8080/api",
            UpstreamUrl(False, "orders.internal", 8080, "/api"),
            "orders.internal:8080",
        ),
        ("http://orders", UpstreamUrl(False, "orders", 80, ""), "orders"),
        ("https://Orders.Example/", UpstreamUrl(True, "orders.example", 443, ""), "orders.example"),
        ("https://orders:80/a/b/", UpstreamUrl(True, "orders", 80, "/a/b"), "orders:80"),
        ("http://127.0.0.1:9000", UpstreamUrl(False, "127.0.0.1", 9000, ""), "127.0.0.1:9000"),
        ("http://[::1]:9000", UpstreamUrl(False, "::1", 9000, ""), "[::1]:9000"),
        ("grpc://orders:9000/a", UpstreamUrl(False, "orders", 9000, "/a", "http2"), "orders:9000"),
        ("grpc://orders", UpstreamUrl(False, "orders", 80, "", "http2"), "orders"),
        ("unix:/run/orders.sock", UpstreamUrl(False, "", 0, "", "http1", "/run/orders.sock"), "localhost"),
        ("unix:///run/orders.sock", UpstreamUrl(False, "", 0, "", "http1", "/run/orders.sock"), "localhost"),
        ("GRPCS://orders", UpstreamUrl(True, "orders", 443, "", "http2"), "orders"),
    ],
)
def test_a_url_is_taken_apart(url: str, expected: UpstreamUrl, authority: str) -> None:
    assert parse_url(url) == expected
    assert parse_url(url).authority == authority


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "http:// or https://"),
        ("orders.internal:8080", "http:// or https://"),
        ("/api", "http:// or https://"),
        ("unix:orders.sock", "expected unix:/path/to/socket"),
        ("unix://run/orders.sock", "expected unix:/path/to/socket"),
        ("unix:/run/../orders.sock", "expected unix:/path/to/socket"),
        ("unix:/run/orders.sock?a", "expected unix:/path/to/socket"),
        ("unix:/" + "a" * 107, "at most 107 characters"),
        ("unix:@orders", "expected unix:/path/to/socket"),
        ("ws://orders", "a WebSocket begins as a GET: write http://"),
        ("wss://orders", "a WebSocket begins as a GET: write https://"),
        ("h2c://orders", "for gRPC: grpc:// or grpcs://"),
        ("grpc://orders?a=b", "without query and fragment"),
        ("http://", "host name or an IP address"),
        ("http://a b", "printable ASCII"),
        ("http://örders", "printable ASCII"),
        ("http://orders\r\nx", "printable ASCII"),
        ("http://user:secret@orders", "without user and password"),
        ("http://orders?a=b", "without query and fragment"),
        ("http://orders/#", "without query and fragment"),
        ("http://orders:0", "port from 1 to 65535"),
        ("http://orders:99999", "expected a URL such as"),
        ("http://orders:", "port from 1 to 65535"),
        ("http://[::1", "expected a URL such as"),
        ("http://256.1.1.1", "four numbers"),
        ("http://-orders", "host name or an IP address"),
        ("http://orders/a/../b", "base path of plain segments"),
        ("http://orders/a//b", "base path of plain segments"),
        ("http://orders/a\\1", "base path of plain segments"),
    ],
)
def test_other_urls_are_refused(url: str, sentence: str) -> None:
    with pytest.raises(UrlError, match=sentence):
        parse_url(url)


def test_a_refusal_does_not_repeat_a_password() -> None:
    with pytest.raises(UrlError) as caught:
        parse_url("http://user:secret@orders")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("protocol", ["http1", "http2", "auto"])
def test_what_is_said_goes_before_what_the_url_says(protocol: UpstreamProtocol) -> None:
    assert parse_url("https://orders", protocol).protocol == protocol
    assert parse_url("grpc://orders", protocol).protocol == protocol, "that it makes no sense is for validation to say"
