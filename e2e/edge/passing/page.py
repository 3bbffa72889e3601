"""The tables of docs/reference/passing.md, made from the rows that the tests run. What stands around them is written.

python -m e2e.edge.passing.page        writes them
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from e2e.edge.passing import grpc_rows, http_rows, websocket_rows
from e2e.edge.passing.columns import COLUMNS, TITLES
from e2e.edge.passing.rows import Row
from e2e.kit.places import ROOT

PAGE = ROOT / "docs" / "reference" / "passing.md"
SECTIONS = {"HTTP": http_rows.ROWS, "gRPC": grpc_rows.ROWS, "WebSocket and CONNECT": websocket_rows.ROWS}


def replace_tables(page: str) -> str:
    """The page, with the table of each section as the rows have it."""
    for title, rows in SECTIONS.items():
        page, replacements = re.subn(
            rf"(^## {title}\n[^|]*)(\|[^\n]*\n)+", rf"\1{table(rows)}", page, flags=re.MULTILINE
        )
        assert replacements == 1, f"expected one section {title} with a table, got {replacements}"
    return page


def table(rows: Sequence[Row]) -> str:
    """A table with a line for each row and a field for each column of policies."""
    head = ["", *(TITLES[column] for column in COLUMNS)]
    lines = [head, ["---"] * len(head), *([row.title, *map(row.expected, COLUMNS)] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(replace_tables(PAGE.read_text()))
