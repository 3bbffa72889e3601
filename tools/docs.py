"""Builds the site of the documentation into build/docs/site: `make docs`. With --serve it also shows it on a port.

The site has the Markdown of this repository where it lies, so that links between pages are the same in both, and pages
that are made from the code: tools/reference.py writes those about settings and figures, mkdocstrings those of the SDK.
What makes it is installed into an environment of its own, .tools/docs. A warning fails it: a link that leads nowhere,
a page that no menu has.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import policy_pages
import reference
from own_environment import install

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "docs"
PAGES, SITE, SETTINGS = BUILD / "pages", BUILD / "site", BUILD / "mkdocs.yml"
BEFORE_POLICIES = "      - All of them: docs/reference/policies-that-ship.md"
"""The line of the menu behind which the pages of the policies that ship come."""
FROM_ROOT = ("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE", "changes/README.md")
FOLDERS = ("docs", "bench", "deploy/helm")
LISTED = re.compile(
    r"docs/decisions/0|docs/README\.md$"
)  # in docs/decisions/README.md; a page for readers of the repository
SUFFIXES = (".md", ".svg", ".css")
LINK = re.compile(r"\[([^]]+)\]\(([^)#\s:]+)\)")


def main() -> None:
    parser = argparse.ArgumentParser(prog="make docs", description="Builds the site of the documentation.")
    parser.add_argument("--serve", action="store_true", help="show it until it is interrupted")
    parser.add_argument("--port", type=int, default=8000, help="where to show it (default: 8000; 0: a free one)")
    options = parser.parse_args()
    home = install("docs")
    lay_out()
    write_settings()
    check_menu()
    build(home)
    print(SITE / "index.html")
    if options.serve:
        serve(options.port)


def lay_out() -> None:
    """Puts all pages into one folder, as they lie in the repository; README.md becomes the site's first page."""
    shutil.rmtree(PAGES, ignore_errors=True)
    copy("README.md", "index.md")
    for name in FROM_ROOT:
        copy(name, name)
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in SUFFIXES and path != policy_pages.COSTS:  # is a part of a page
                name = str(path.relative_to(ROOT))
                copy(name, name)
    for name, text in reference.pages().items():
        target = PAGES / "docs" / "reference" / name
        target.parent.mkdir(exist_ok=True)
        target.write_text(text)


def copy(source: str, target: str) -> None:
    (PAGES / target).parent.mkdir(parents=True, exist_ok=True)
    if source.endswith(".md"):
        text = (ROOT / source).read_text()
        (PAGES / target).write_text(LINK.sub(partial(link, (ROOT / source).parent), text))
    else:
        shutil.copyfile(ROOT / source, PAGES / target)


def link(folder: Path, match: re.Match[str]) -> str:
    """A link to a file or folder that the site does not have, but the repository has, becomes its name."""
    target = (folder / match[2]).resolve()
    if not target.exists() or not target.is_relative_to(ROOT):
        return match[0]
    name = target.relative_to(ROOT)
    is_on_site = target.suffix in SUFFIXES and (name.parent == Path() or any(map(name.is_relative_to, FOLDERS)))
    return match[0] if is_on_site or str(name) in FROM_ROOT else f"{match[1]} (`{name}`)"


def write_settings() -> None:
    """mkdocs.yml, with a line of the menu for each policy that ships."""
    lines = []
    for line in (ROOT / "mkdocs.yml").read_text().splitlines():
        lines.append(line)
        if line.startswith(BEFORE_POLICIES):
            names = [folder.name for folder in policy_pages.folders()]
            lines += [f"      - {name}: docs/reference/policy-{name}.md" for name in names]
    SETTINGS.write_text("\n".join([*lines, ""]))


def check_menu() -> None:
    """Every page is in the menu, or in a page that is: there is no other way to it but the search."""
    menu = SETTINGS.read_text()
    pages = sorted(str(path.relative_to(PAGES)) for path in PAGES.rglob("*.md"))
    missing = [page for page in pages if f": {page}" not in menu and not LISTED.match(page)]
    if missing:
        raise SystemExit(f"docs: expected each page in the menu, nav in mkdocs.yml; not there: {', '.join(missing)}")


def build(home: Path) -> None:
    shutil.rmtree(SITE, ignore_errors=True)
    run(str(home / "bin" / "zensical"), "build", "--strict", "--clean", "--config-file", str(SETTINGS))


def serve(port: int) -> None:
    handler = partial(SimpleHTTPRequestHandler, directory=str(SITE))
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


def run(*command: str) -> None:
    if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
        raise SystemExit(f"docs: failed: {' '.join(command)}")


if __name__ == "__main__":
    main()
