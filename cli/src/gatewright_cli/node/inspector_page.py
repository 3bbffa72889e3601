"""How somebody gets to the Inspector, signed in: an address with the token in its fragment, which no server is sent,
and a file that leads there.

A browser is given the file's name: its own arguments, as those of each process, are there for every user to read.
"""

from __future__ import annotations

import html
from urllib.parse import quote

from gatewright_cli.node.run_dir import RunDir

FILE = "inspector.html"
"""In the run directory, 0600, as long as the run."""
PAGE = """<!doctype html>
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0; url={address}">
<title>Gatewright Inspector</title>
<p><a href="{address}">The Inspector, signed in</a></p>
"""


def address(controller: str) -> str:
    """Of the Inspector that the controller at a URL ("http://127.0.0.1:9090") serves."""
    return f"{controller.rstrip('/')}/"


def sign_in_address(controller: str, token: str) -> str:
    """The same, and whoever opens it is signed in."""
    return f"{address(controller)}#token={quote(token, safe='')}"


def write_page(run_dir: RunDir, controller: str, token: str) -> None:
    """The file; it goes with the run directory."""
    run_dir.write(FILE, PAGE.format(address=html.escape(sign_in_address(controller, token))))
