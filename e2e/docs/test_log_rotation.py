"""docs/how-to/logs.md, "Rotate files", as it stands but for folders: no line is lost or written to the old file."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import httpx

from e2e.kit.gateway import api, eventually, running
from e2e.kit.markdown import blocks, page, section
from e2e.kit.upstream import Upstream

PAGE = section(page("docs/how-to/logs.md"), "Rotate files")


def paths_of(log: Path) -> list[str]:
    return [json.loads(line)["path"] for line in log.read_text().splitlines()] if log.exists() else []


def rotate(configuration: str, folder: Path) -> None:
    """By logrotate where it is there; else as it does: each file is moved away, then the script runs in a shell."""
    if logrotate := shutil.which("logrotate", path="/usr/sbin:/usr/bin:/sbin:/bin"):
        (folder / "logrotate.conf").write_text(configuration)
        command = [logrotate, "--force", "--state", str(folder / "state"), str(folder / "logrotate.conf")]
        subprocess.run(command, check=True, timeout=60)
        return
    for file in Path(configuration.split(" {", 1)[0]).parent.glob("*.log"):
        file.rename(file.with_name(f"{file.name}.1"))
    script = configuration.partition("postrotate\n")[2].partition("endscript")[0]
    subprocess.run(["sh", "-ec", script], check=True, timeout=60)


def test_log_files_are_rotated(build: Path, upstream: Upstream, tmp_path: Path) -> None:
    (document,), (configuration,) = blocks(PAGE, "yaml"), blocks(PAGE, "text")
    logs = tmp_path / "logs"
    logs.mkdir()
    (tmp_path / "gateway.yaml").write_text(document.replace("/var/log/gatewright", str(logs)))
    with running(build, tmp_path / "state", "--gateway", str(tmp_path / "gateway.yaml")) as gateway:
        configuration = configuration.replace("/var/log/gatewright", str(logs))
        configuration = configuration.replace("/run/gatewright", str(gateway.run_dir))
        gateway.deploy(api("rotated", upstream.url))
        pids = {process["name"]: process["pid"] for process in gateway.status()["processes"]}
        for number in range(3):
            path = f"/rotated/{number}"
            assert httpx.get(gateway.url + path).status_code == 200
            eventually("its line is there", lambda path=path: paths_of(logs / "access.log") == [path])  # type: ignore[misc]
            rotate(configuration, tmp_path)
            eventually(
                "it is reopened",
                lambda number=number: len(gateway.find_records(message="log files reopened")) == number + 1,  # type: ignore[misc]
            )
            assert paths_of(logs / "access.log.1") == [path]
        for name, pid in pids.items():  # as `systemctl kill` does, which sends to all of a service
            if name != "envoy":
                os.kill(pid, signal.SIGUSR1)
        assert httpx.get(f"{gateway.url}/rotated/after").status_code == 200
        assert {process["name"]: process["pid"] for process in gateway.status()["processes"]} == pids
        assert [record["accessLogs"] for record in gateway.find_records(message="log files reopened")] == [True] * 3
