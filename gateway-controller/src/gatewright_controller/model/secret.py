"""The `Secret` resource: values by key that policies get and that are never shown."""

from __future__ import annotations

from typing import Annotated, Literal

from gatewright_documents.secret_references import FILE
from gatewright_documents.strict import expecting
from msgspec import UNSET, Meta, UnsetType, field

from gatewright_controller.model.api import Metadata
from gatewright_controller.model.common import Strict

MOST_BYTES = 65536
"""Of one value: as of a file that a reference names."""
MOST_KEYS = 64
SecretKey = Annotated[
    str,
    Meta(
        pattern=f"^{FILE}$",
        extra_json_schema=expecting("a key of lower-case letters, digits, -, _ and . that begins with one of the two"),
    ),
]
SecretValue = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MOST_BYTES,
        extra_json_schema={"writeOnly": True, **expecting("text", "quote it if it is to be text")},
    ),
]

FileName = Annotated[
    str,
    Meta(min_length=1, max_length=4096, extra_json_schema=expecting("the path of a file, from the folder of this one")),
]


class SecretSpec(Strict, frozen=True):
    """What a Secret holds."""

    values: Annotated[dict[SecretKey, SecretValue], Meta(min_length=1, max_length=MOST_KEYS)] | UnsetType = UNSET
    """By key, which APIs name with the Secret: `{secretRef: NAME/KEY}`. What is shown of a value is `********`, and
    that stands for the value that is stored. A key that is left out goes."""
    values_from_files: Annotated[dict[SecretKey, FileName], Meta(max_length=MOST_KEYS)] = field(default_factory=dict)
    """Further values, in files beside this one: `gatewright plan` and `apply` read them, and what is stored has them
    among `values`."""


class Secret(Strict, frozen=True):
    """One `Secret` resource, as it is written."""

    api_version: Literal["gatewright.dev/v1"]
    kind: Literal["Secret"]
    metadata: Metadata
    spec: SecretSpec
