"""The parts of a request that decisions see, in every way to write it: a table of docs/reference/passing.md.

python -m e2e.policies.views        writes it
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from e2e.kit.gateway import Json
from e2e.kit.places import ROOT

PAGE = ROOT / "docs" / "reference" / "passing.md"
TITLE = "What decisions go by"


@dataclass(frozen=True)
class Way:
    """A way to write a request: the parts that are not set are written in the plainest form."""

    path: str = "/views/users:delete/caf%C3%A9"
    host: str = "shop.example"
    client: str = "198.51.100.7"
    headers: Sequence[str] = ("1", "2")
    query: str = "a=1&a=2"


VIEW: Json = {
    "path": "/views/users:delete/caf%C3%A9",
    "segments": ["views", "users:delete", "café"],
    "host": "shop.example",
    "client": "198.51.100.7",
    "header": ["1", "2"],
    "parameter": ["1", "2"],
}
"""The values that all see, of each way."""

WAYS: Mapping[str, Sequence[Way]] = {
    "path": [
        Way(path="/views/users%3Adelete/caf%C3%A9"),
        Way(path="/views/users%3adelete/caf%c3%a9"),
        Way(path="/views/users:delete/caf%C3%A9/"),
        Way(path="/views/%75sers:delete/x/../caf%C3%A9"),
        Way(path="//views//users:delete/./caf%C3%A9"),
    ],
    "host": [Way(host=host) for host in ("Shop.Example", "shop.example.", "shop.example:8080", "shop.example.:80")],
    "client": [Way(client="::ffff:198.51.100.7")],
    "header": [Way(headers=("1,2",)), Way(headers=("1 , 2",))],
    "parameter": [Way(query="%61=1&b&a=%32")],
}

CONDITIONS: Mapping[str, str] = {
    "path": 'request.path == "/views/users:delete/caf%C3%A9"',
    "segments": 'request.path_segments == ["views", "users:delete", "café"]',
    "host": 'request.host == "shop.example"',
    "client": 'request.client_ip == "198.51.100.7"',
    "header": 'request.headers["x-many"].matches("^1 ?, ?2$")',
    "parameter": 'request.query["a"] == ["1", "2"]',
}

READERS = [
    "`when`, rules of `cel-authz`",
    "`input` of OPA",
    "keys of limits",
    "`ctx` in Python",
    "Go",
    "placeholders",
    "`audit-log`",
]
NONE = "–"
TABLE: Mapping[str, Sequence[str]] = {
    "the path: `/a:b` for `/a%3Ab`, `/a%3ab`, `/a:b/`, `//x/../a:b`": [
        "`request.path`",
        "`path`",
        "`from: path`",
        "`path`; as it came `raw_path`",
        "`Path`; as it came `RawPath`",
        "`request.path`",
        "`path`",
    ],
    'its segments, decoded: `["a:b"]`': [
        "`request.path_segments`",
        "`path_segments`",
        NONE,
        "`path_segments`",
        "`PathSegments()`",
        NONE,
        NONE,
    ],
    "the host: `shop.example` for `Shop.Example.:80`": [
        "`request.host`",
        "`host`",
        NONE,
        "`host`; as it came `authority`",
        "`Host()`; as it came `Authority`",
        "as it came: `request.host`",
        NONE,
    ],
    "the client: `198.51.100.7` for `::ffff:198.51.100.7`": [
        "`request.client_ip`",
        "`client_ip`",
        "`from: client`",
        "`client_address`",
        "`ClientAddress`",
        "`client.ip`",
        "`client`",
    ],
    "a header in two lines": [
        "both, joined by `,`",
        "both, joined by `,`",
        "a key of its own",
        "`headers.get_all`",
        "`Headers.Values`",
        "both, joined by `, `",
        "both",
    ],
    "a parameter twice, however its name is encoded": [
        "both",
        "both",
        "a key of its own",
        "`query_params.get_all`",
        "`Query`, as it came",
        "both, joined by `, `",
        NONE,
    ],
}


def replace_table(page: str) -> str:
    """The page with this table."""
    head = ["", *READERS]
    lines = [head, ["---"] * len(head), *([title, *cells] for title, cells in TABLE.items())]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    page, replacements = re.subn(
        rf"(^## {TITLE}\n[^|]*)(\|[^\n]*\n)+", lambda match: match[1] + table, page, flags=re.MULTILINE
    )
    assert replacements == 1, f"expected one section {TITLE} with a table, got {replacements}"
    return page


if __name__ == "__main__":
    PAGE.write_text(replace_table(PAGE.read_text()))
