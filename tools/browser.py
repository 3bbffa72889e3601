"""The browser that the Inspector's pages are tested in: Chromium or Chrome, found on the machine, else Debian's.

    python tools/browser.py           prints where it is; installs it where that is possible
    python tools/browser.py --find    installs nothing
    BROWSER_REQUIRED=1                it is a failure that there is none; else the tests that need one are skipped

chromium-headless-shell is Chromium without windows: whole Chromium has some of its own for each context, which take as
much CPU as the pages.
Playwright's own builds are not used: they come from no package registry.
"""

from __future__ import annotations

import sys

from machine_program import MachineProgram

BROWSER = MachineProgram(
    name="browser",
    names=(
        "chromium-headless-shell",
        "chromium",
        "google-chrome",
        "google-chrome-stable",
        "chrome",
        "chromium-browser",
    ),
    variable="CHROMIUM",
    required="BROWSER_REQUIRED",
    version="Chrom",
    packages=("chromium-headless-shell", "fonts-dejavu-core"),  # a browser without fonts draws no text
    systems=("debian",),  # Ubuntu's package of this name installs a snap
    cure="expected Chromium or Chrome on PATH, or Debian with root or sudo to install it: "
    "install one (Debian: apt install chromium-headless-shell fonts-dejavu-core)",
)

if __name__ == "__main__":
    sys.exit(BROWSER.main(sys.argv[1:]))
