"""A secret: the value of a parameter for which the policy's definition says `format: secret`.

    def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
        return UpstreamRequestModifications(set_headers={"x-api-key": params["key"].reveal()})

Only `reveal` returns the text: it is not in `str`, `repr`, logs, f-strings or tracebacks, and cannot be written as JSON
or pickled. Use `matches` to check a client's credential. When the operator changes the secret, the gateway makes a new
instance of the policy, whose `prepare` gets the new value.
"""

from __future__ import annotations

import hmac
import os
from typing import Any, Final, NoReturn, final

__all__ = ["Secret"]

_KEY: Final = os.urandom(32)
"""A random key of this process: without it, a secret's hash discloses nothing about the secret."""
_MEMBERS: Final = {"secretRef", "value"}


@final
class Secret:
    """A text that is never shown. Equal only to another Secret with the same text, whatever its name."""

    __slots__ = ("_digest", "_name", "_text")
    _digest: bytes
    _name: str
    _text: str

    def __init__(self, text: str, name: str = "") -> None:
        if not isinstance(text, str):
            raise TypeError(f"expected the text of a secret as str, got {type(text).__name__}")
        object.__setattr__(self, "_text", text)
        object.__setattr__(self, "_name", name)
        object.__setattr__(self, "_digest", _digest(text))

    @property
    def name(self) -> str:
        """The name of the secret reference in the API: "upstream-key"; "" if the API has the text itself."""
        return self._name

    def reveal(self) -> str:
        """The text. Keep it out of logs and errors."""
        return self._text

    def matches(self, text: str) -> bool:
        """Whether the secret is this text, compared in constant time."""
        return hmac.compare_digest(self._digest, _digest(text))

    def __eq__(self, other: object) -> bool:
        return hmac.compare_digest(self._digest, other._digest) if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._digest)

    def __repr__(self) -> str:
        return f"Secret(name={self._name!r})"

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a Secret is read-only: {name} cannot be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a Secret is read-only: {name} cannot be deleted")

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret cannot be pickled: pass what was made with it, or reveal() it where it must go")


def _digest(text: str) -> bytes:
    return hmac.digest(_KEY, text.encode("utf-8", "surrogatepass"), "sha256")


def from_wire(value: dict[str, Any]) -> Any:
    """For `json.loads(…, object_hook=from_wire)`: an object with exactly the members `secretRef` and `value`, both
    text, becomes a Secret."""
    if value.keys() == _MEMBERS and all(isinstance(member, str) for member in value.values()):
        return Secret(value["value"], value["secretRef"])
    return value


def revive(value: Any) -> Any:
    """A JSON value that was read without `from_wire`, with Secrets for the objects that from_wire recognizes."""
    if isinstance(value, dict):
        return from_wire({key: revive(item) for key, item in value.items()})
    return [revive(item) for item in value] if isinstance(value, list) else value
