"""The table of values in the Helm chart's README, made of the comments in values.yaml.

python tools/chart_readme.py            writes it
python tools/chart_readme.py --check    ends with 1 where it is another one than values.yaml would make
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

CHART = Path(__file__).resolve().parent.parent / "deploy" / "helm" / "gatewright"
MARKER = "<!-- The rest is made by tools/chart_readme.py of values.yaml. -->\n"
KEY = re.compile(r"( *)([A-Za-z][A-Za-z0-9]*):(?: (.*))?")


def rows(values: str) -> Iterator[tuple[str, str, str]]:
    """Of each value its path, its default and its comment. A mapping over several lines has no default."""
    path: list[str] = []
    comment: list[str] = []
    lines = values.splitlines()
    for number, line in enumerate(lines):
        text = line.strip()
        if text.startswith("#"):
            comment.append(text.removeprefix("#").strip())
        elif match := KEY.fullmatch(line):
            indent, key, default = len(match[1]), match[2], match[3] or ""
            path[indent // 2 :] = [key]
            following = next((later for later in lines[number + 1 :] if later.strip()), "")
            if default or following.lstrip().startswith("- "):
                yield ".".join(path), default or following.strip(), " ".join(comment)
            elif comment:
                yield ".".join(path), "", " ".join(comment)
            comment = []
        else:
            comment = []


def table(values: str) -> str:
    """The rows as Markdown."""
    lines = ["| value | default | |", "| --- | --- | --- |"]
    for path, default, comment in rows(values):
        shown = f"`{default}`" if default else ""
        lines.append(f"| `{path}` | {shown.replace('|', chr(92) + '|')} | {comment.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    readme = CHART / "README.md"
    head, marker, _ = readme.read_text().partition(MARKER)
    made = head + marker + "\n" + table((CHART / "values.yaml").read_text())
    if "--check" not in sys.argv[1:]:
        readme.write_text(made)
    elif readme.read_text() != made:
        raise SystemExit(f"{readme}: the table of values is not that of values.yaml: python tools/chart_readme.py")


if __name__ == "__main__":
    main()
