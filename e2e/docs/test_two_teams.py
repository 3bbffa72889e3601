"""docs/tutorial/two-teams.md step by step: its files, its commands in one shell, and their shown outputs."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.docs.shell_pages import outputs_of, script, shown_outputs, stop
from e2e.kit.listening import free_port
from e2e.kit.markdown import page
from e2e.kit.places import ROOT

PAGE = "docs/tutorial/two-teams.md"
RUN = re.compile(r"^gatewright (run|join) .*--run-dir (\w+) .*$", re.MULTILINE)
STARTED = (
    r": > \2.log" + "\n"  # the log of an earlier start says that it was ready
    r"\g<0> --controller-port 9090 >> \2.log 2>&1 & echo $! > \2.pid" + "\n"
    r"until grep -q '^ready' \2.log; do sleep 0.1; kill -0 $(cat \2.pid); done"
)
STOP = "kill $(cat {0}.pid); while kill -0 $(cat {0}.pid) 2> /dev/null; do sleep 0.1; done"
PORTS = ("8443", "8444", "9090", "9091", "9443")
CONTROLLER = re.compile(r"(writing to|comparing with|\w+ is) https://|\w+ has the role ")
"""Lines on stderr that name the controller that a command talks to, or say what a new token is."""
pytestmark = pytest.mark.timeout(300)


def on_this_machine(text: str) -> tuple[str, dict[str, str]]:
    """The page's program with free ports, runs in the background, and Ctrl-C where the page asks for it; and the
    ports that stand for those of the page."""
    ports = {port: str(free_port()) for port in PORTS}
    text = RUN.sub(STARTED, text)
    for name, block in (("one", "The controller goes away 1"), ("two", "The controller goes away 2")):
        assert text.count(f"echo '## {block}'\n") == 1
        text = text.replace(f"echo '## {block}'\n", f"{STOP.format(name)}\necho '## {block}'\n")
    return re.sub("|".join(rf"\b{port}\b" for port in PORTS), lambda match: ports[match[0]], text), ports


@pytest.fixture(scope="module")
def printed() -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """The output of each block of commands, and the ports."""
    if missing := [program for program in ("curl", "openssl") if not shutil.which(program)]:
        pytest.skip(f"NOT TESTED: {' and '.join(missing)} is not on this machine")
    with tempfile.TemporaryDirectory(prefix="gw-") as short:  # its folder holds sockets
        place = Path(short)
        program, ports = on_this_machine(script(page(PAGE)))
        environment = {"XDG_RUNTIME_DIR": short, "XDG_CONFIG_HOME": short}
        try:
            yield outputs_of(program, place, environment, place / "gateway"), ports
        finally:
            stop(place / "gateway")


def comparable(text: str) -> list[list[str]]:
    """Its lines as columns, without times and numbers of revisions."""
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", text)
    return [re.split(r" {2,}", re.sub(r"^\d+  |(?<=back to )\d+", "N  ", line).rstrip()) for line in text.splitlines()]


def test_each_block_prints_what_is_shown(printed: tuple[dict[str, str], dict[str, str]]) -> None:
    outputs, ports = printed
    shown = shown_outputs(page(PAGE))
    assert len(shown) == 13
    for block, text in shown.items():
        for port, free in ports.items():
            text = re.sub(rf"\b{port}\b", free, text)
        lines = [line for line in outputs[block].splitlines() if not CONTROLLER.match(line)]
        assert comparable("\n".join(lines)) == comparable(text), block


def test_the_navigation_has_the_page() -> None:
    for name in ("README.md", "docs/README.md", "mkdocs.yml"):
        assert Path(PAGE).name in (ROOT / name).read_text()
