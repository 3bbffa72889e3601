"""The results of tries, target by target."""

import errno
from collections.abc import Callable, Mapping

Evidence = dict[str, dict[str, str]]


class RefusedError(Exception):
    """The target refused; the message says how."""


def evidence(attempts: Mapping[str, Callable[[], object]]) -> Evidence:
    """Runs each attempt: its return value is the proof that it reached its target."""
    result: Evidence = {"reached": {}, "refused": {}}
    for target, attempt in attempts.items():
        try:
            result["reached"][target] = str(attempt())
        except OSError as error:
            result["refused"][target] = f"{errno.errorcode.get(error.errno or 0, type(error).__name__)}: {error}"
        except (RefusedError, RuntimeError, MemoryError, ValueError) as error:
            result["refused"][target] = f"{type(error).__name__}: {error}"
    return result
