"""A secret, as a policy is given it where its definition says `format: secret`.

    def on_request(ctx: RequestContext, params: dict[str, Any]) -> RequestAction:
        return UpstreamRequestModifications(set_headers={"x-api-key": params["key"].reveal()})

The text is what `reveal` returns, and stands nowhere else: not in `str`, `repr`, logs, f-strings or tracebacks, and it
goes into no JSON and no pickle. Ask `matches` whether a client knows it. When its operator changes it, the policy's
instance is made anew: `prepare` runs again, and nothing else is to be done.
"""

from __future__ import annotations

import hmac
import os
from typing import Any, Final, NoReturn, final

__all__ = ["Secret"]

_KEY: Final = os.urandom(32)
"""Of this process: a hash of a secret says nothing to who does not know it."""
_MEMBERS: Final = {"secretRef", "value"}


@final
class Secret:
    """Text that is not shown. Equal to a Secret of the same text, whatever its name, and to nothing else."""

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
        """By which the API names it: "upstream-key"; "" where the API has the text itself."""
        return self._name

    def reveal(self) -> str:
        """The text. Keep it out of logs and errors."""
        return self._text

    def matches(self, text: str) -> bool:
        """Whether it is this text; how long that takes says nothing of it."""
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
    """For `json.loads(…, object_hook=from_wire)`: an object with the members `secretRef` and `value`, both text and no
    others, is a Secret."""
    if value.keys() == _MEMBERS and all(isinstance(one, str) for one in value.values()):
        return Secret(value["value"], value["secretRef"])
    return value


def revive(value: Any) -> Any:
    """A JSON value that was read without `from_wire`, with the secrets in it."""
    if isinstance(value, dict):
        return from_wire({key: revive(item) for key, item in value.items()})
    return [revive(item) for item in value] if isinstance(value, list) else value
