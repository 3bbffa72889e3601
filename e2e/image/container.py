"""One container of the image, started by its real entrypoint: its output, processes and answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from e2e.image.engine import inspect, podman
from e2e.kit.gateway import Json, eventually

LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
"""A limit that any machine allows: podman sets a higher one, which needs a capability."""
HARDENED = (
    "--read-only", "--read-only-tmpfs=false", "--tmpfs", "/tmp",  # noqa: S108
    "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
    *LIMITS, "--network", "host", "--pull", "never",
)  # fmt: skip
"""Read-only root, no capability, nothing else to write to but /tmp and the volume."""
FREE_PORTS = ("--port", "0", "--controller-port", "0")


class Container:
    """A running container; `arguments` are those of the entrypoint, `options` those of `podman run`."""

    def __init__(self, image: str, arguments: tuple[str, ...] = (), options: tuple[str, ...] = ()) -> None:
        self.token = "only-for-this-test"  # noqa: S105
        environment = ("--env", f"GATEWRIGHT_CONTROLLER_TOKEN={self.token}")
        command = ("run", "--detach", *HARDENED, *environment, *options, image, *FREE_PORTS, *arguments)
        self.id = podman(*command).strip()

    def logs(self) -> str:
        """Its stdout and stderr, without podman's own messages."""
        lines = podman("logs", self.id, merged=True).splitlines()
        return "\n".join(line for line in lines if not line.startswith("time="))

    def wait_ready(self) -> Container:
        eventually("the container is ready", self._ready, 180)
        return self

    def _ready(self) -> bool:
        assert inspect(self.id)["State"]["Running"], f"ended before it was ready, see: podman logs {self.id}"
        return "ready http://" in self.logs()

    @property
    def url(self) -> str:
        return next(line.split()[1] for line in self.logs().splitlines() if line.startswith("ready "))

    def shell(self, script: str, check: bool = True) -> str:
        """The output of a shell in the container, in the entrypoint's environment."""
        return podman("exec", self.id, "sh", "-c", script, check=check).strip()

    def status(self) -> Json:
        status: Json = json.loads(self.shell('gatewright status --json --run-dir "$GATEWRIGHT_RUN_DIR" || true'))
        return status

    def process(self, name: str) -> Json:
        processes: list[Json] = [process for process in self.status()["processes"] if process["name"] == name]
        assert processes, f"no process {name}"
        return processes[0]

    def kill(self, name: str) -> int:
        """SIGKILL to a process, by the pid that it has in the container."""
        pid: int = self.process(name)["pid"]
        self.shell(f"kill -9 {pid}")
        return pid

    def is_back(self, name: str, killed: int) -> bool:
        process = self.process(name)
        return process["state"] == "ready" and process["pid"] not in {killed, None}

    def command_lines(self) -> list[list[str]]:
        """The arguments of each process in it, but for the shell that asks."""
        script = "for each in /proc/[0-9]*/cmdline; do tr '\\0' '\\t' < $each; echo; done"
        lines = [line.rstrip("\t").split("\t") for line in self.shell(script).splitlines()]
        return [line for line in lines if line != [""] and script not in line and line[0] != "tr"]

    def deploy(self, api: Json) -> None:
        """Creates the API with the image's own token, and returns when it is deployed."""
        listen = self.process("controller")["listen"].replace("0.0.0.0", "127.0.0.1")  # noqa: S104
        headers = {"authorization": f"Bearer {self.token}"}
        answer = httpx.post(f"http://{listen}/v1/apis", json=api, params={"wait": "15"}, headers=headers, timeout=30)
        assert answer.status_code == 201, answer.text
        assert answer.json()["status"]["state"] == "deployed", answer.text

    def stop(self) -> int:
        """Stops it as `docker stop` does: SIGTERM, and SIGKILL after ten seconds; returns the exit code."""
        podman("stop", self.id)
        return self.exit_code()

    def exit_code(self) -> int:
        """The exit code, once it has ended."""
        eventually("the container ends", lambda: not inspect(self.id)["State"]["Running"], 60)
        code: int = inspect(self.id)["State"]["ExitCode"]
        return code


@contextmanager
def run_container(image: str, *arguments: str, options: tuple[str, ...] = ()) -> Iterator[Container]:
    """A ready container, removed at the end with its volume."""
    container = Container(image, arguments, options)
    try:
        yield container.wait_ready()
    except BaseException:
        print("\n".join(container.logs().splitlines()[-60:]))
        raise
    finally:
        podman("rm", "--force", "--volumes", "--time", "15", container.id)
