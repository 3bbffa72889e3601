"""An effective Gateway, and it rendered, found out apart from a run that goes on: `node/gateway.py` asks it.

    python -m gatewright_cli.node.gateway_process

stdin: {"file": PATH or null, "options": {…}, "stateDir": PATH}. stdout: what `gateway.told` reads, and "rendered".
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from gatewright_cli.node import gateway


def main() -> None:
    """Once."""
    asked = json.load(sys.stdin)
    file = Path(asked["file"]) if asked["file"] else None
    found = gateway.tell_effective(file, asked["options"])
    if "mistakes" not in found:
        found["rendered"] = gateway.tell_rendered(found["document"], Path(asked["stateDir"]))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
