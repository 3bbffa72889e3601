"""`python -m e2e.outages`: what is promised while controllers, their database and nodes are away. The exit status is 1
when a promise was not kept.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from bench import load_tool
from e2e.kit.shared_build import build_output
from e2e.outages import control_plane, nodes, updates
from e2e.outages.report import summary_of


def main() -> int:
    arguments = _parse()
    with tempfile.TemporaryDirectory(prefix="outages-") as folder:
        tool, build = load_tool.build(Path(folder)), build_output()
        results = [
            *control_plane.run(tool, build, arguments.only, arguments.rounds),
            *updates.run(tool, build, arguments.only, arguments.updates),
            *nodes.run(tool, build, arguments.only),
        ]
    if not results:
        sys.exit(f"no outage has the words {' '.join(arguments.only)} in its name")
    print(summary_of(results, "converged, s"))
    return 1 if any(result.mistakes for result in results) else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m e2e.outages", description=__doc__)
    parser.add_argument("--rounds", type=int, default=2, help="how often each outage is caused (default: 2)")
    parser.add_argument("--updates", type=int, default=1000, help="of APIs, one after another (default: 1000)")
    parser.add_argument("only", nargs="*", metavar="WORD", help="cause those whose names have all these words")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
