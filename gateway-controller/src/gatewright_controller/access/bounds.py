"""What a document says of the APIs that a grant is for: globs of names, hosts, contexts. `Labels` are the model's."""

from __future__ import annotations

from typing import Annotated

from gatewright_documents.strict import expecting
from msgspec import Meta

MOST = 64
Globs = Annotated[
    list[
        Annotated[
            str,
            Meta(
                pattern=r"^[a-z0-9*?-]{1,63}$",
                extra_json_schema=expecting("a name of an API, or a glob of names such as 'orders-*'"),
            ),
        ]
    ],
    Meta(max_length=MOST),
]
Hosts = Annotated[
    list[
        Annotated[
            str,
            Meta(
                pattern=r"^(\*\.)?[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$",
                extra_json_schema=expecting("a host such as 'shop.example', or '*.example' for all below it"),
            ),
        ]
    ],
    Meta(max_length=MOST),
]
Contexts = Annotated[
    list[
        Annotated[
            str,
            Meta(
                pattern=r"^/[A-Za-z0-9._~/-]{0,255}$",
                extra_json_schema=expecting("a path such as '/payments', with all contexts below it"),
            ),
        ]
    ],
    Meta(max_length=MOST),
]
