"""Signs a person in to the Inspector: by an address with the token in its fragment, which browsers send to no server,
and by a file that leads to it.

A browser is started with the file's name, since every user can read the arguments of a process.
"""

from __future__ import annotations

import html
from urllib.parse import quote

from gatewright_cli.node.files.run_dir import RunDir

FILE = "inspector.html"
"""In the run directory, 0600, for as long as the run."""
PAGE = """<!doctype html>
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0; url={address}">
<title>Gatewright Inspector</title>
<p><a href="{address}">The Inspector, signed in</a></p>
"""


def address(controller: str) -> str:
    """The address of the Inspector of the controller at a URL ("http://127.0.0.1:9090")."""
    return f"{controller.rstrip('/')}/"


def sign_in_address(controller: str, token: str) -> str:
    """The Inspector's address with the token, which signs in the person who opens it."""
    return f"{address(controller)}#token={quote(token, safe='')}"


def write_page(run_dir: RunDir, controller: str, token: str) -> None:
    """Writes the file, which is removed with the run directory."""
    run_dir.write(FILE, PAGE.format(address=html.escape(sign_in_address(controller, token))))
