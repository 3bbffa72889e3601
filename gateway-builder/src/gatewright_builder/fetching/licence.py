"""Which licence something has, where it says so itself: SPDX identifiers, and what Python packages declare."""

from __future__ import annotations

import re
from email import message_from_bytes
from pathlib import Path

SPDX = re.compile(rb"SPDX-License-Identifier:[ \t]*([\w.()+ -]+?)[ \t]*(?:\*/)?\r?$", re.MULTILINE)
SUFFIXES = {"", ".md", ".txt", ".py", ".go", ".yaml"}
CLASSIFIER = "License :: OSI Approved :: "
LONGEST = 80  # what is longer is the licence's text


def licence_of_folder(folder: Path) -> str:
    """The first SPDX-License-Identifier in the files right inside a folder; "" without one."""
    for file in sorted(folder.glob("*")):
        if file.suffix in SUFFIXES and file.is_file() and (found := SPDX.search(file.read_bytes())):
            return found[1].decode()
    return ""


def licence_of_package(metadata: bytes) -> str:
    """What a Python package's METADATA says: an expression, a name, or a classifier; "" if nothing."""
    message = message_from_bytes(metadata)
    for field in ("License-Expression", "License"):
        value = str(message.get(field, "")).strip()
        if value and value != "UNKNOWN" and "\n" not in value and len(value) <= LONGEST:
            return value
    classifiers = [str(value) for value in message.get_all("Classifier", [])]
    return next((value.removeprefix(CLASSIFIER) for value in classifiers if value.startswith(CLASSIFIER)), "")
