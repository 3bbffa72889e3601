"""Generated decK documents: of the entities that files have, with odd values; and of any values."""

from __future__ import annotations

from hypothesis import strategies as st

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NAME = st.sampled_from(["a", "b", "Ä", "c d", "x" * 80, "", "é/ü"]) | TEXT
PLAIN_HOSTS = st.lists(st.sampled_from(["a.example", "*.example", "b.a.example"]), max_size=3, unique=True)
HOSTS = PLAIN_HOSTS | st.lists(st.sampled_from(["*.a.example", "a.*", "10.0.0.1", "A.example:80"]) | TEXT, max_size=3)
PLAIN_PATHS = st.lists(
    st.sampled_from(["/", "/a", "/ab", "/a/b", "~/a/[^/]+$", "~/[^/]+/b$", "~/a/\\d+$"]), max_size=3, unique=True
)
PATHS = PLAIN_PATHS | st.lists(
    st.sampled_from(
        [
            "/",
            "/a",
            "/a/",
            "/ab",
            "/a/b",
            "/a:b",
            "/é",
            "/a;b",
            "~/a/(?<id>\\d+)$",
            "~/a/[^/]+",
            "~/(a|b)/.*",
            "~/a/b$",
            "~/[",
            "~/a|/b",
            "~/(?=a)",
            "~/a/?$",
        ]
    )
    | TEXT,
    max_size=3,
)
METHODS = st.lists(st.sampled_from(["GET", "POST", "HEAD", "PURGE", "CONNECT", "get"]), max_size=2, unique=True)
HEADERS = st.dictionaries(
    st.sampled_from(["x-a", "x-b", "host", "Ä"]),
    st.lists(st.sampled_from(["1", "~*a.*", "", "b" * 300]), max_size=2),
    max_size=2,
)
CONFIGS = st.dictionaries(
    st.sampled_from(
        [
            "minute",
            "month",
            "limit_by",
            "policy",
            "allow",
            "deny",
            "origins",
            "credentials",
            "key_names",
            "status_code",
            "message",
            "body",
            "add",
            "remove",
            "rename",
            "replace",
            "limit",
            "window_size",
            "cache_ttl",
            "vary_headers",
            "header_name",
            "allowed_payload_size",
            "trigger",
            "opa_path",
            "max_age",
            "response_code",
            "http_method",
        ]
    ),
    st.sampled_from([1, 60, 0, -1, 10**9, "ip", "service", "header", "redis", True, False, None, "204", "/v1/data/a/b"])
    | st.lists(
        st.sampled_from(["*", "https://a.example", "10.0.0.0/8", "x-a:b", "x_a", "a b", "", 5, 60, 200, 99]), max_size=3
    )
    | st.dictionaries(
        st.sampled_from(["headers", "querystring", "body", "uri"]),
        st.lists(st.sampled_from(["a:b", "x_a", "", "q:$(headers.x)", "a:$(x)"]), max_size=2),
        max_size=2,
    ),
    max_size=4,
)
FITTING = st.sampled_from(
    [
        {"name": "key-auth", "config": {"key_names": ["x-key"]}},
        {"name": "acl", "config": {"allow": ["a", "c d"]}},
        {"name": "rate-limiting", "config": {"minute": 5, "month": 100}},
        {"name": "rate-limiting-advanced", "config": {"limit": [5], "window_size": [60]}},
        {"name": "ip-restriction", "config": {"allow": ["10.0.0.0/8"]}},
        {"name": "cors", "config": {"origins": ["https://a.example"]}},
        {"name": "request-transformer", "config": {"add": {"headers": ["x-a:1"], "querystring": ["q:1"]}}},
        {"name": "response-transformer", "config": {"remove": {"headers": ["x-a"]}}},
        {"name": "proxy-cache", "config": {"strategy": "memory"}},
        {"name": "request-size-limiting", "config": {"allowed_payload_size": 1}},
        {"name": "opa", "config": {"opa_host": "a.example", "opa_path": "/v1/data/a"}},
        {"name": "bot-detection", "config": {"deny": ["bad\\"]}},
    ]
)
"""Plugins whose policies take their configuration; those of CONFIGS mostly do not fit."""
PLUGIN_NAMES = st.sampled_from(
    [
        "acl",
        "basic-auth",
        "bot-detection",
        "correlation-id",
        "cors",
        "ip-restriction",
        "jwt",
        "key-auth",
        "opa",
        "proxy-cache",
        "oauth2-introspection",
        "rate-limiting",
        "rate-limiting-advanced",
        "request-size-limiting",
        "request-termination",
        "request-transformer",
        "response-transformer",
        "prometheus",
        "ldap-auth",
        "our-own",
    ]
)
PLUGINS = st.lists(
    FITTING
    | st.fixed_dictionaries(
        {"name": PLUGIN_NAMES, "config": CONFIGS},
        optional={
            "enabled": st.booleans(),
            "protocols": st.just(["https"]),
            "tags": st.just(["t"]),
            "ordering": st.just({"before": {"access": ["cors", "key-auth"]}}),
            "shape": TEXT,
        },
    ),
    max_size=3,
)
ROUTES = st.lists(
    st.fixed_dictionaries(
        {"name": NAME, "paths": PATHS},
        optional={
            "hosts": HOSTS,
            "methods": METHODS,
            "headers": HEADERS,
            "plugins": PLUGINS,
            "strip_path": st.booleans(),
            "preserve_host": st.booleans(),
            "path_handling": st.sampled_from(["v0", "v1"]),
            "protocols": st.sampled_from([["http"], ["https"], ["tcp"], ["grpc"], ["http", "https"]]),
            "regex_priority": st.integers(-2, 5),
            "snis": st.just(["a.example"]),
        },
    ),
    min_size=1,
    max_size=4,
)
SERVICES = st.lists(
    st.fixed_dictionaries(
        {
            "name": NAME,
            "routes": ROUTES,
            "url": st.sampled_from(["http://a.example/b", "https://a.example"]) | st.sampled_from(["tcp://a:1", "x"]),
        },
        optional={
            "host": st.sampled_from(["a.example", "pool", "pool"]) | st.sampled_from(["ü", "", "::1"]),
            "path": st.sampled_from(["/", "/v1", "/a b"]),
            "port": st.integers(1, 65535) | st.integers(-1, 70000),
            "retries": st.integers(-1, 40),
            "read_timeout": st.integers(-1, 2**31),
            "protocol": st.sampled_from(["http", "https", "grpc"]) | st.sampled_from(["http", "udp"]),
            "enabled": st.booleans(),
            "plugins": PLUGINS,
        },
    ),
    min_size=1,
    max_size=3,
)
UPSTREAMS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.just("pool"),
            "targets": st.lists(
                st.fixed_dictionaries(
                    {"target": st.sampled_from(["a.example", "b.example:80", "10.0.0.1:8080", "[::1]:1", ":", ""])},
                    optional={"weight": st.integers(-1, 70000)},
                ),
                max_size=3,
            ),
        },
        optional={
            "algorithm": st.sampled_from(["round-robin", "consistent-hashing", "latency", "x"]),
            "hash_on": st.sampled_from(["none", "ip", "cookie", "header", "consumer"]),
            "hash_on_header": st.sampled_from(["x-a", "a b"]),
            "host_header": st.sampled_from(["a.example", "a b"]),
            "healthchecks": st.sampled_from(
                [
                    {"active": {"healthy": {"interval": 0.01, "successes": 400}, "http_path": "x"}},
                    {"passive": {"unhealthy": {"tcp_failures": 3}}},
                ]
            ),
        },
    ),
    max_size=1,
)
CONSUMERS = st.lists(
    st.fixed_dictionaries(
        {"username": NAME},
        optional={
            "keyauth_credentials": st.lists(
                st.fixed_dictionaries(
                    {"key": NAME}, optional={"ttl": st.integers(-1, 10**12), "created_at": st.integers(-1, 10**12)}
                ),
                max_size=2,
            ),
            "acls": st.lists(st.fixed_dictionaries({"group": NAME}), max_size=2),
            "groups": st.lists(st.fixed_dictionaries({"name": NAME}), max_size=2),
            "plugins": PLUGINS,
        },
    ),
    max_size=2,
)
DOCUMENTS = st.fixed_dictionaries(
    {"services": SERVICES},
    optional={"upstreams": UPSTREAMS, "consumers": CONSUMERS, "plugins": PLUGINS, "routes": ROUTES, "moons": TEXT},
)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            TEXT | st.sampled_from(["name", "routes", "config", "paths", "url", "plugins"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)
ANY = st.dictionaries(
    st.sampled_from(["services", "routes", "plugins", "consumers", "upstreams", "_info"]), VALUES, max_size=4
)
