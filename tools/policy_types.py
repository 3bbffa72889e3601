"""Checks the types of the files named, each by itself, for policies are all modules named `policy`.

mypy is started once and runs for each: what takes long is its start.
"""

from __future__ import annotations

import sys

from mypy import api


def main(files: list[str]) -> int:
    """1 where a file has mistakes, which are printed with its name."""
    wrong = 0
    for file in files:
        output, complaint, status = api.run([file])
        if status:
            wrong += 1
            print(output + complaint, end="")
    print(f"policy_types: {len(files)} files, {wrong} with mistakes")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
