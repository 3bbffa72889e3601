"""What all resources are written in: names, times, structs that refuse unknown keys."""

from __future__ import annotations

from typing import Annotated, Any

from gatewright_documents.strict import expecting
from gatewright_documents.values import JsonObject
from msgspec import Meta, Struct

ResourceName = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
        extra_json_schema=expecting("1 to 63 lower-case letters, digits and inner hyphens, such as 'orders-v1'"),
    ),
]
Timeout = Annotated[
    str,
    Meta(
        pattern=r"^[1-9][0-9]{0,6}(ms|s)$",
        extra_json_schema=expecting("a whole number of ms or s, such as '200ms' or '1s'"),
    ),
]
Address = Annotated[
    str,
    Meta(
        pattern=r"^[0-9A-Fa-f:.]{2,45}$", extra_json_schema=expecting("an address such as 127.0.0.1, 0.0.0.0 or '::'")
    ),
]
Port = Annotated[int, Meta(ge=1, le=65535)]
LABEL_KEY = r"[a-z0-9]([a-z0-9./-]{0,61}[a-z0-9])?"
LABEL_VALUE = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
Labels = Annotated[
    dict[
        Annotated[
            str,
            Meta(
                pattern=f"^{LABEL_KEY}$",
                extra_json_schema=expecting("1 to 63 lower-case letters, digits and inner '-', '.' and '/', as 'team'"),
            ),
        ],
        Annotated[
            str,
            Meta(
                pattern=f"^{LABEL_VALUE}$",
                extra_json_schema=expecting("1 to 63 letters, digits and inner '-', '.' and '_', as 'payments'"),
            ),
        ],
    ],
    Meta(max_length=64),
]
Text = Annotated[str, Meta(min_length=1, max_length=200, extra_json_schema=expecting("1 to 200 characters"))]
FilePath = Annotated[
    str, Meta(pattern="^/", max_length=4096, extra_json_schema=expecting("the absolute path of a file on the node"))
]


class Strict(Struct, frozen=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True, kw_only=True):
    """A struct that refuses keys it does not know."""


def doc(comment: str, behind: str = "", *, restart: bool = False, expected: str = "", **limits: Any) -> Meta:
    """A field's comment in the reference, Envoy's field behind it, and whether a change of it needs a restart.

    expected: as mistakes say it, where the limits do not say it well.
    """
    extra: JsonObject = {"x-behind": behind, "x-restart": restart, **(expecting(expected) if expected else {})}
    return Meta(description=comment, extra_json_schema=extra, **limits)


def milliseconds(timeout: str) -> int:
    """`"200ms"` is 200, `"1s"` is 1000."""
    return int(timeout[:-2]) if timeout.endswith("ms") else int(timeout[:-1]) * 1000
