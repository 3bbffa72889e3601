"""Reads and renders a Gateway in a process of its own, for a reload of a run (run/gateway_reloading.py).

    python -m gatewright_cli.node.listeners.gateway_process

stdin: {"file": PATH or null, "options": {…}, "stateDir": PATH}. stdout: the answer for `gateway.gateway_from_json`,
with "rendered".
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from gatewright_cli.node.listeners import gateway


def main() -> None:
    """Answers one request."""
    request = json.load(sys.stdin)
    file = Path(request["file"]) if request["file"] else None
    answer = gateway.effective_as_json(file, request["options"])
    if "mistakes" not in answer:
        answer["rendered"] = gateway.render_as_base64(answer["document"], Path(request["stateDir"]))
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
