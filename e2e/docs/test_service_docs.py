"""The unit of docs/how-to/service.md: started, asked, reloaded and stopped by its own lines."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from e2e.kit.gateway import eventually
from e2e.kit.markdown import blocks, page
from e2e.kit.places import ROOT

UNIT = ROOT / "deploy" / "systemd" / "gatewright.service"
PROGRAM = "/opt/gatewright/current/bin/gatewright"
STARTS_SECONDS = 120


@pytest.fixture
def unit(tmp_path: Path) -> dict[str, str]:
    """The settings of the unit, with folders of the test; the one of sockets has a short path."""
    gatewright = shutil.which("gatewright")
    assert gatewright
    text = UNIT.read_text().replace(PROGRAM, gatewright)
    text = text.replace("/var/lib/gatewright", str(tmp_path / "state")).replace(
        "/run/gatewright", tempfile.mkdtemp(prefix="gw-")
    )
    lines = [line for line in text.splitlines() if "=" in line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


@contextmanager
def run_unit(unit: dict[str, str], build: Path, log: Path) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, str]]]:
    """The service, with the environment that its commands have. It is not to build here, and takes any port."""
    environment = dict(os.environ) | dict([unit["Environment"].split("=", 1)])
    command = [*shlex.split(unit["ExecStart"]), "--build", str(build), "--port", "0", "--controller-port", "0"]
    with log.open("wb") as output, subprocess.Popen(command, stderr=output, stdout=output, env=environment) as service:
        try:
            yield service, environment
        finally:
            service.kill()


def test_the_unit_starts_reloads_and_stops(unit: dict[str, str], build: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with run_unit(unit, build, log) as (service, environment):
        begun = shlex.split(unit["ExecStartPost"])
        subprocess.run(begun, env=environment, check=True, timeout=STARTS_SECONDS, capture_output=True)
        assert '"message":"ready"' in log.read_text().replace('": "', '":"')
        reload = shlex.split(unit["ExecReload"].replace("$MAINPID", str(service.pid)))
        subprocess.run(reload, check=True)
        eventually("it reloads", lambda: '"signal":"SIGHUP"' in log.read_text().replace('": "', '":"'))
        service.send_signal(signal.SIGTERM)
        assert service.wait(int(unit["TimeoutStopSec"].removesuffix("s"))) == 0


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not on this machine")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    copied = tmp_path / UNIT.name
    copied.write_text(UNIT.read_text().replace(PROGRAM, sys.executable))
    result = subprocess.run(["systemd-analyze", "verify", str(copied)], capture_output=True, text=True, check=False)
    warnings = [line for line in result.stderr.splitlines() if UNIT.name in line]
    assert warnings == [], result.stderr


def test_the_shown_rollback_restores_the_backup(tmp_path: Path) -> None:
    """The commands between stop and start, with folders of this test's."""
    state, backup = tmp_path / "state", tmp_path / "gateway-0.1.0.db"
    state.mkdir()
    (state / "controller.db").write_text("of a newer release")
    backup.write_text("of this one")
    shell = "".join(blocks(page("docs/how-to/service.md"), "sh"))
    shown = [line for line in shell.splitlines() if line.startswith(("mv ", "install "))]
    assert len(shown) == 3
    for line in shown:
        line = line.replace("/var/backups", str(tmp_path)).replace("/var/lib/gatewright", str(state))
        line = line.replace("-o gatewright -g gatewright ", "")
        subprocess.run(shlex.split(line), check=True)
    assert (state / "controller.db").read_text() == "of this one"
    assert state.stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "state-0.2.0" / "controller.db").read_text() == "of a newer release"
