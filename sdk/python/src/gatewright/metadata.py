"""The metadata of an HTTP exchange, as a policy reads and writes it."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator, MutableMapping
from typing import Any

from gatewright.params import ReadOnlyDict, ReadOnlyList, freeze
from gatewright.secrets import Secret


class Metadata(MutableMapping[str, Any]):
    """One JSON object per HTTP exchange, shared by all its policies, Go and Python, from request to response.

    Values are None, bool, int, float (finite), str, and lists and dicts of these; integers of any size stay integers.
    Values are checked and copied when they are written, and read-only when they are read: to change one, assign a
    changed copy to its key. Any other value raises TypeError or ValueError at the line that writes it, with the
    policy's name.
    The size has no limit of its own. Since the object is sent as JSON with each later execution of the exchange, keep
    it to a few KiB; a message between engine and executor holds at most 64 MiB.

    `text` is the object as JSON, b"" for {}; it is parsed at first use. `policy` is "name:version".
    """

    __slots__ = ("_policy", "_removed", "_text", "_values", "_written")

    def __init__(self, text: bytes = b"", policy: str = "") -> None:
        self._text = text
        self._policy = policy
        self._values: dict[str, Any] | None = None
        self._written: set[str] | None = None
        self._removed: set[str] | None = None

    def __getitem__(self, key: str) -> Any:
        return self._parsed[key]

    def __setitem__(self, key: str, value: Any) -> None:
        values = self._parsed
        values[_checked_key(key, self._where())] = checked_json(value, self._where(key))
        self._written = (self._written or set()) | {key}

    def __delitem__(self, key: str) -> None:
        del self._parsed[key]
        (self._written or set()).discard(key)
        self._removed = (self._removed or set()) | {key}

    def __iter__(self) -> Iterator[str]:
        return iter(self._parsed)

    def __len__(self) -> int:
        return len(self._parsed)

    def __repr__(self) -> str:
        return f"Metadata({self._parsed!r})"

    def to_dict(self) -> dict[str, Any]:
        """A copy as a plain dict, to change or for `json.dumps`, which accepts no other mapping."""
        return copy.deepcopy(ReadOnlyDict(self._parsed))

    @property
    def changed(self) -> bool:
        """Whether anything was written or deleted through this object."""
        return self._written is not None or self._removed is not None

    def changes(self) -> tuple[dict[str, Any], list[str]]:
        """The members that were written, and the keys that were deleted and not written again."""
        written, removed = self._written or set(), self._removed or set()
        return {key: self._parsed[key] for key in sorted(written)}, sorted(removed - written)

    @property
    def _parsed(self) -> dict[str, Any]:
        if self._values is None:
            self._values = {key: freeze(value) for key, value in json.loads(self._text or b"{}").items()}
        return self._values

    def _where(self, key: str | None = None) -> str:
        owner = f"policy {self._policy}: " if self._policy else ""
        return f"{owner}metadata" if key is None else f"{owner}metadata[{key!r}]"


def checked_params(value: object, where: str) -> Any:
    """checked_json for parameters, which may contain Secrets beside JSON values."""
    return checked_json(value, where, secrets=True)


def checked_json(value: object, where: str, *, secrets: bool = False) -> Any:
    """A deep, read-only copy of a JSON value; tuples become lists, subclasses of str, int and float plain ones.

    TypeError for any other value; ValueError for NaN, infinities and text that is not Unicode. Their texts begin with
    `where`.
    """
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return _checked_text(value, where)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _checked_float(value, where)
    if secrets and isinstance(value, Secret):
        return value
    return _checked_container(value, where, secrets)


def _checked_container(value: object, where: str, secrets: bool) -> Any:
    if isinstance(value, list | tuple):
        indexed = enumerate(value)
        return ReadOnlyList([checked_json(item, f"{where}[{index}]", secrets=secrets) for index, item in indexed])
    if isinstance(value, dict):
        items = ((_checked_key(key, where), item) for key, item in value.items())
        return ReadOnlyDict({key: checked_json(item, f"{where}[{key!r}]", secrets=secrets) for key, item in items})
    raise TypeError(
        f"{where}: expected a JSON value (None, bool, int, float, str, list or dict), got {type(value).__name__}. "
        f"Convert it before it is written"
    )


def _checked_key(key: object, where: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"{where}: expected a str as key, got {type(key).__name__} ({key!r:.40})")
    return _checked_text(key, where)


def _checked_float(value: float, where: str) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{where}: expected a number that JSON has, got {value!r}")
    return float(value)


def _checked_text(value: str, where: str) -> str:
    """Refuses escaped bytes (PEP 383), which text of headers may have: JSON cannot carry them, and Go would silently
    replace them."""
    try:
        return value.encode().decode()
    except UnicodeEncodeError:
        raise ValueError(
            f"{where}: expected Unicode text, got bytes that are not UTF-8 ({value!r:.60}). Write it as "
            f'value.encode("utf-8", "surrogateescape").decode("latin-1"), or leave such values out'
        ) from None
