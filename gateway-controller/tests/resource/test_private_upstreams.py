from __future__ import annotations

import socket

import pytest
from gatewright_controller.resource.private_upstreams import AllowedUpstreamError, PrivateUpstreams
from gatewright_controller.resource.upstream import UrlError, parse_url

OWN = "a private port of the gateway itself"
LINK_LOCAL = "a link-local address"
METADATA = "a cloud's metadata service"


def refusal(url: str, *allowed: str, listen: str = "127.0.0.1") -> str | None:
    return PrivateUpstreams.of([(listen, 9090)], allowed).refusal(parse_url(url))


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("http://127.0.0.1:9090", OWN),
        ("https://127.0.0.1:9090/x", OWN),
        ("http://127.5.6.7:9090", OWN),
        ("http://0.0.0.0:9090", OWN),
        ("http://[::1]:9090", OWN),
        ("http://[::]:9090", OWN),
        ("http://[::ffff:127.0.0.1]:9090", OWN),
        ("http://[0:0:0:0:0:ffff:7f00:1]:9090", OWN),
        ("http://[64:ff9b::7f00:1]:9090", OWN),
        ("http://localhost:9090", OWN),
        ("http://LOCALHOST.:9090", OWN),
        ("http://any.localhost:9090", OWN),
        ("http://ip6-localhost:9090", OWN),
        (f"http://{socket.gethostname()}:9090", OWN),
        ("http://169.254.169.254", LINK_LOCAL),
        ("http://169.254.0.1:8080", LINK_LOCAL),
        ("http://[fe80::1]", LINK_LOCAL),
        ("http://[fe80::1%25eth0]:80", LINK_LOCAL),
        ("http://[febf::1]", LINK_LOCAL),
        ("http://[::ffff:169.254.169.254]", LINK_LOCAL),
        ("http://[64:ff9b::a9fe:a9fe]", LINK_LOCAL),
        ("http://[fd00:ec2::254]", METADATA),
        ("http://metadata.google.internal", METADATA),
        ("http://Metadata.Google.Internal.", METADATA),
    ],
)
def test_what_is_private_is_refused_in_every_spelling(url: str, what: str) -> None:
    reason = refusal(url)
    assert reason
    assert f", {what}; an operator can allow it with `allowedUpstreams`" in reason


@pytest.mark.parametrize(
    "url",
    ["http://127.1:9090", "http://2130706433:9090", "http://0x7f000001:9090", "http://0177.0.0.1:9090", "http://0:9090",
     "http://127.0.0.1.:9090", "http://127.0.0.0x1:9090", "http://0X7F.1:9090", "http://a.0x:9090"],
)  # fmt: skip
def test_addresses_in_older_spellings_are_no_hosts(url: str) -> None:
    with pytest.raises(UrlError, match="expected a host name or an IP address of four numbers"):
        parse_url(url)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:9091", "http://127.0.0.1", "http://localhost:8080", "http://orders.internal:9090",
     "http://10.1.2.3:9090", "http://[fd00::1]", "http://168.254.1.1", "http://localhost.example:9090"],
)  # fmt: skip
def test_other_upstreams_are_taken(url: str) -> None:
    assert refusal(url) is None


def test_a_process_that_listens_everywhere_is_met_at_every_address_of_the_machine() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing; the kernel says which address it would use
        own = probe.getsockname()[0]
    assert refusal(f"http://{own}:9090", listen="0.0.0.0") is not None  # noqa: S104
    assert refusal("http://127.0.0.1:9090", listen="::") is not None
    assert refusal("http://192.0.2.1:9090", listen="0.0.0.0") is None  # noqa: S104
    assert refusal(f"http://{own}:9090", listen=own) is not None


@pytest.mark.parametrize("admin", ["127.0.0.1:9901", "[::1]:9901", "[::]:9901"])
def test_where_nodes_listen_for_themselves_is_private_too(admin: str) -> None:
    upstreams = PrivateUpstreams.of([("127.0.0.1", 9090)], []).with_own([admin])
    for url in ("http://localhost:9901", "http://[::ffff:127.0.0.1]:9901", "http://0.0.0.0:9901", "http://[::1]:9090"):
        assert OWN in (upstreams.refusal(parse_url(url)) or "")
    assert upstreams.refusal(parse_url("http://127.0.0.1:9902")) is None
    allowing = PrivateUpstreams.of([], ["127.0.0.1:9901"]).with_own([admin])
    assert allowing.refusal(parse_url("http://127.0.0.1:9901")) is None


def test_an_operator_can_allow_them() -> None:
    assert refusal("http://127.0.0.1:9090", "127.0.0.1:9090") is None
    assert refusal("http://[::ffff:127.0.0.1]:9090", "127.0.0.1:9090") is None
    assert refusal("http://localhost:9090", "localhost:9090") is None
    assert refusal("http://localhost:9090", "127.0.0.1:9090") is not None
    assert refusal("http://169.254.1.2", "169.254.1.0/24") is None
    assert refusal("http://169.254.2.2", "169.254.1.0/24") is not None
    assert refusal("http://[fe80::1]:80", "fe80::/10") is None
    assert refusal("http://metadata.google.internal", "metadata.google.internal:80") is None


@pytest.mark.parametrize("entry", ["", "here", "169.254.1.1/16", "localhost:", "a:b", "http://x:80"])
def test_what_allows_nothing_is_named(entry: str) -> None:
    with pytest.raises(
        AllowedUpstreamError, match=r"expected HOST:PORT, a network such as 169\.254\.0\.0/16, or unix:/path, got"
    ):
        PrivateUpstreams.of([], [entry])


@pytest.mark.parametrize(("entry", "socket", "allowed"), [
    ("unix:/run/orders.sock", "/run/orders.sock", True),
    ("unix:/run/orders.sock", "/run/orders.sock2", False),
    ("unix:/run/orders/", "/run/orders/a.sock", True),
    ("unix:/run/orders/", "/run/ordersX/a.sock", False),
    ("unix:/run/orders", "/run/orders/a.sock", False),
    ("127.0.0.1:80", "/run/orders.sock", False),
    ("0.0.0.0/0", "/run/orders.sock", False),
])  # fmt: skip
def test_sockets_are_refused_unless_the_operator_has_them(entry: str, socket: str, allowed: bool) -> None:
    refusal = PrivateUpstreams.of([], [entry]).refusal(parse_url(f"unix:{socket}"))
    assert (refusal is None) is allowed
