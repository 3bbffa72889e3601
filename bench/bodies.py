"""The rows of policies that look at bodies: a request with a string of JSON of 1 KiB, and an answer without a body.

What reading a body costs any policy is in the row of body-length, a Python policy that counts its bytes.
"""

from __future__ import annotations

from typing import Any

from bench.rows import Row

BYTES = 1024
SCHEMA = {"type": "string", "minLength": 1, "maxLength": 4096, "pattern": "^[a-z]*$"}
POLICIES: dict[str, dict[str, Any]] = {
    "body-length": {},
    "pii-mask": {"directions": ["request"]},
    "transform-json": {"request": "{text: @, length: length(@)}"},
    "validate-request": {"schema": SCHEMA},
    "validate-response": {"schema": SCHEMA, "statuses": ["201"]},
    "xml-json": {"request": "json-to-xml", "rootName": "text"},
}


def rows() -> list[Row]:
    return [
        Row(f"shipped-{name}", name, ({"name": name, "version": "v1", "params": params},), body=BYTES)
        for name, params in POLICIES.items()
    ]
