"""What the operating system has refused, in words for people: `str` of such an error is Python's own notation."""

from __future__ import annotations

import re
import shutil

NUMBER = re.compile(r"^\[Errno \d+\] ")
PATHS = re.compile(r": '.*$", re.DOTALL)


def os_reason(error: OSError) -> str:
    """The path and the reason; the reason alone where no path is known. Of several files that could not be
    copied, which Python reports as a list, the first one and how many more.
    """
    if isinstance(error, shutil.Error) and error.args and isinstance(error.args[0], list):
        (_, target, reason), *more = error.args[0]
        first = f"{target}: {PATHS.sub('', NUMBER.sub('', str(reason)))}"
        return f"{first}, and {len(more)} more" if more else first
    if not error.strerror:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
