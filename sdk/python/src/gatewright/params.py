"""Read-only dicts and lists, of which `params` and the values of `metadata` are made.

For reading they are ordinary dicts and lists, so `json.dumps`, `isinstance` and `match` work. A change raises
TypeError, since it would affect other requests, or have no effect.
"""

from __future__ import annotations

from typing import Any, NoReturn, TypeAlias

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"


def _refuse(self: object, *_args: object, **_kwargs: object) -> NoReturn:
    kind = "dict" if isinstance(self, dict) else "list"
    raise TypeError(
        f"this {kind} is read-only: params are shared between requests, and a change inside a metadata value would be "
        f"lost. Change a copy, copy.deepcopy(value), and for metadata assign the copy to its key"
    )


class ReadOnlyDict(dict[str, Any]):
    """A dict that raises TypeError on change. `dict(it)` is a shallow copy, `copy.deepcopy(it)` a deep, plain one."""

    __slots__ = ()
    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __copy__(self) -> dict[str, Any]:
        return dict(self)

    def __deepcopy__(self, memo: object) -> dict[str, Any]:
        return {key: _thaw(value) for key, value in self.items()}

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return dict, (dict(self),)


class ReadOnlyList(list[Any]):
    """A list that raises TypeError on change. `list(it)` is a shallow copy, `copy.deepcopy(it)` a deep, plain one."""

    __slots__ = ()
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = clear = extend = insert = pop = remove = reverse = sort = _refuse

    def __copy__(self) -> list[Any]:
        return list(self)

    def __deepcopy__(self, memo: object) -> list[Any]:
        return [_thaw(value) for value in self]

    def __reduce__(self) -> tuple[type[list[Any]], tuple[list[Any]]]:
        return list, (list(self),)


def freeze(value: Any) -> Any:
    """A deep read-only copy of a JSON value: dicts and lists become `ReadOnlyDict` and `ReadOnlyList`."""
    if isinstance(value, dict):
        return ReadOnlyDict({key: freeze(item) for key, item in value.items()})
    if isinstance(value, list):
        return ReadOnlyList([freeze(item) for item in value])
    return value


def _thaw(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _thaw(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_thaw(item) for item in value]
    return value
