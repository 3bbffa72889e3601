"""What a process that runs policies can reach, tried by programs that are started like one."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from gatewright_cli.builds.build_output import Access, BuildOutput, Group
from gatewright_cli.isolation import kernel_probe, landlock, seccomp
from gatewright_cli.isolation.executor_users import ExecutorUsers, IsolationError, missing_capabilities
from gatewright_cli.isolation.levels import Isolation, Kernel, Level, Limits
from gatewright_cli.supervision.launch_plan import launch_command
from gatewright_cli.supervision.temporary_folder import TemporaryFolder

from cli.tests.conftest import NO_MORE_THAN_A_USER

WHOLE = Kernel(7, os.uname().machine, True)
SYSTEM_PYTHON = Path("/usr/bin/python3")  # one that every user can read, as those in a home folder cannot be
AS_OTHERS = pytest.mark.skipif(
    bool(missing_capabilities()) or not SYSTEM_PYTHON.exists(), reason="needs to be root, and the system's python3"
)

TRIES = """
import ctypes, fcntl, json, os, resource, signal, socket, struct, subprocess, sys, threading
at = json.loads(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)

def call(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)

def number(*arguments):
    if libc.syscall(*arguments) < 0:
        raise OSError(ctypes.get_errno(), str(arguments[0]))

def datagram():
    one, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    one.sendto(b"x", at["datagrams"])

def traced():
    call("ptrace", 16, at["pid"], 0, 0)
    os.waitpid(at["pid"], 0x40000000)
    call("ptrace", 17, at["pid"], 0, 0)

def remote_memory():
    buffer = ctypes.create_string_buffer(8)
    iov = struct.pack("PN", ctypes.addressof(buffer), 8)
    call("process_vm_readv", at["pid"], iov, 1, struct.pack("PN", at["address"], 8), 1, 0)

def namespace():
    if os.fork() == 0:
        os._exit(libc.unshare(0x10000000) and 1)
    if os.wait()[1]:
        raise PermissionError("unshare")

def lease():
    with open(at["policies"] + "/main.py") as file:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)

def flags():
    with open(at["policies"] + "/main.py") as file:
        had = struct.unpack("L", fcntl.ioctl(file, 0x80086601, bytes(8)))[0]
        fcntl.ioctl(file, 0x40086602, struct.pack("L", had | 0x40))

def large():
    with open("large", "wb") as file:
        file.truncate(2 << 30)

TRIES = {
    "read a file": lambda: open(at["file"]).read(),
    "write a file": lambda: open(at["file"], "a").close(),
    "list a folder": lambda: os.listdir(at["folder"]),
    "remove a file": lambda: os.unlink(at["doomed"]),
    "write into its own environment": lambda: open(at["policies"] + "/new.py", "w").close(),
    "change a file's mode": lambda: os.chmod(at["file"], 0o600),
    "a lease on a file that it reads": lease,
    "attributes of a file that it reads": flags,
    "another's environment": lambda: open(f"/proc/{at['pid']}/environ").read(),
    "another's command line": lambda: open(f"/proc/{at['pid']}/cmdline").read(),
    "another's memory by ptrace": traced,
    "another's memory": remote_memory,
    "a signal": lambda: os.kill(at["pid"], signal.SIGWINCH),
    "another's limits": lambda: resource.prlimit(at["pid"], resource.RLIMIT_CORE, (0, 0)),
    "another's priority": lambda: os.setpriority(os.PRIO_PROCESS, at["pid"], 1),
    "another's processors": lambda: os.sched_setaffinity(at["pid"], os.sched_getaffinity(0)),
    "a Unix socket": lambda: socket.socket(socket.AF_UNIX).connect(at["socket"]),
    "a Unix socket of datagrams": datagram,
    "an abstract Unix socket": lambda: socket.socket(socket.AF_UNIX).connect(at["abstract"]),
    "a TCP port to listen on": lambda: socket.create_server(("127.0.0.1", 0)),
    "a TCP port without bind": lambda: socket.socket().listen(),
    "a port of multipath TCP": lambda: socket.socket(proto=262).bind(("127.0.0.1", 0)),
    "a user namespace": namespace,
    "io_uring": lambda: number(425, 1, ctypes.create_string_buffer(120)),
    "shared memory by key": lambda: call("shmget", 0, 4096, 0o1600),
    "a core dump": lambda: resource.setrlimit(resource.RLIMIT_CORE, (1, 1)),
    "a huge file": large,
}
found = {}
os.chdir(os.environ.get("TMPDIR", "/tmp"))
for name, attempt in TRIES.items():
    try:
        attempt()
        found[name] = "reached"
    except (OSError, ValueError) as error:
        found[name] = "refused" if isinstance(error, (PermissionError, ValueError)) else error.strerror
print(json.dumps(found))
"""
STILL = """
import asyncio, concurrent.futures, json, os, pwd, resource, signal, socket, sqlite3, ssl, subprocess, sys, tempfile
import threading, zoneinfo
at = json.loads(sys.argv[1])

async def loop():
    reader, writer = await asyncio.open_connection("localhost", at["port"])
    assert await reader.read(1) == b"x"
    writer.close()
    child = await asyncio.create_subprocess_exec("true")
    assert await child.wait() == 0

def stop_itself():
    received = []
    signal.signal(signal.SIGUSR1, lambda *_: received.append(1))
    os.kill(os.getpid(), signal.SIGUSR1)
    assert received

def a_child():
    child = subprocess.Popen(["sleep", "600"])
    child.terminate()
    assert child.wait() == -signal.SIGTERM

with tempfile.TemporaryDirectory() as folder:
    os.rename(tempfile.NamedTemporaryFile(dir=folder, delete=False).name, folder + "/renamed")
    with sqlite3.connect(folder + "/db") as database:
        database.execute("create table x (y)")
assert tempfile.gettempdir() == os.path.expanduser("~") == os.environ["TMPDIR"]
asyncio.run(loop())
stop_itself()
a_child()
assert ssl.create_default_context().cert_store_stats()["x509_ca"] > 0
assert zoneinfo.ZoneInfo("Europe/Madrid") and os.cpu_count() and open("/proc/self/status").read()
assert open("/proc/meminfo").read()
open(os.devnull, "w").write("x")
os.urandom(8)
resource.setrlimit(resource.RLIMIT_DATA, (1 << 40, resource.getrlimit(resource.RLIMIT_DATA)[1]))
assert concurrent.futures.ThreadPoolExecutor(8).submit(os.getpid).result() == os.getpid()
pwd.getpwuid(0)
print(json.dumps("all"))
"""


@dataclass
class Site:
    """A build's folder, an interpreter, and another user's things for a program to try."""

    folder: Path
    python: Path
    things: dict[str, object]
    temporary: Path | None = None

    def run(
        self, level: Level, program: str, access: Access | None = None, kernel: Kernel = WHOLE, **fields: object
    ) -> object:
        """What the program printed, as JSON."""
        result = self.start(Isolation(level, kernel, Limits(**fields)), program, access)  # type: ignore[arg-type]
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    def start(
        self, isolated: Isolation, program: str, access: Access | None = None
    ) -> subprocess.CompletedProcess[str]:
        group = Group("default", self.python, self.folder / "build" / "python-executor", access=access or Access())
        temporary = TemporaryFolder(self.temporary or self.folder / "own", isolated.user("default"))
        shutil.rmtree(temporary.path, ignore_errors=True)
        temporary.path.mkdir(mode=0o700)
        if temporary.user:
            os.chown(temporary.path, *temporary.user)
        sandbox = isolated.sandbox(BuildOutput(self.folder / "build", (group,)), group, temporary, 1)
        command = launch_command((str(self.python), "-c", program, json.dumps(self.things)), sandbox=sandbox.plan)
        environment = {**os.environ, **sandbox.environment}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def site() -> Iterator[Site]:
    folder = Path(tempfile.mkdtemp(prefix="gw-"))
    folder.chmod(0o711)
    (folder / "build" / "python-executor").mkdir(parents=True)
    (folder / "build" / "python-executor" / "main.py").touch()
    private = folder / "private"
    private.mkdir(mode=0o700)
    for name in ("file", "doomed"):
        (private / name).write_text("secret")
        (private / name).chmod(0o600)
    victim = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert victim.stdin is not None
    assert victim.stdout is not None
    os.write(victim.stdin.fileno(), b"x")
    victim.stdout.read(1)  # it is all there
    stream, abstract = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    server = socket.create_server(("127.0.0.1", 0))
    stream.bind(str(private / "socket"))
    datagrams.bind(str(private / "datagrams"))
    abstract.bind(f"\0{folder}")
    stream.listen()
    abstract.listen()
    address = next(
        line.split("-")[0] for line in Path(f"/proc/{victim.pid}/maps").read_text().splitlines() if "r--p" in line
    )
    things = {
        "file": str(private / "file"), "doomed": str(private / "doomed"), "folder": str(private), "pid": victim.pid,
        "socket": str(private / "socket"), "datagrams": str(private / "datagrams"), "abstract": f"\0{folder}",
        "port": server.getsockname()[1], "policies": str(folder / "build" / "python-executor"),
        "address": int(address, 16),
    }  # fmt: skip
    yield Site(folder, Path(sys.executable), things)
    victim.kill()
    victim.communicate()
    for opened in (stream, abstract, datagrams, server):
        opened.close()
    shutil.rmtree(folder)


@pytest.fixture
def open_site(site: Site) -> Site:
    """With an interpreter that other users can read."""
    return replace(site, python=SYSTEM_PYTHON)


def test_the_kernel_of_this_machine_is_known() -> None:
    found = kernel_probe.probe()
    assert found.machine == os.uname().machine
    assert found == kernel_probe.probe()


def test_at_level_none_a_policy_reaches_everything_that_its_user_can(site: Site) -> None:
    """This shows that each try works without isolation."""
    found = site.run("none", TRIES)
    assert isinstance(found, dict)
    assert {name for name, what in found.items() if what != "reached"} == {"a core dump", "a huge file"}


def test_at_level_landlock_it_reaches_nothing_of_that(site: Site) -> None:
    found = site.run("landlock", TRIES)
    assert isinstance(found, dict)
    assert {name: what for name, what in found.items() if what != "refused"} == {"a huge file": "File too large"}


@AS_OTHERS
def test_at_level_user_it_reaches_nothing_of_that_either(open_site: Site) -> None:
    found = open_site.run("user", TRIES)
    assert isinstance(found, dict)
    assert {name: what for name, what in found.items() if what != "refused"} == {"a huge file": "File too large"}


@AS_OTHERS
def test_a_user_of_its_own_keeps_most_of_it_without_landlock(open_site: Site) -> None:
    found = open_site.run("user", TRIES, kernel=Kernel(0, WHOLE.machine, False))
    assert isinstance(found, dict)
    reached = {name for name, what in found.items() if what == "reached"}
    assert {"another's command line", "a TCP port to listen on", "an abstract Unix socket"} <= reached
    kept = {"read a file", "another's memory", "a signal", "another's limits", "a Unix socket", "change a file's mode"}
    assert not kept & reached


@pytest.mark.parametrize("level", ["landlock", pytest.param("user", marks=AS_OTHERS)])
def test_policies_reach_what_they_need(site: Site, open_site: Site, level: Level) -> None:
    server = socket.create_server(("localhost", 0))
    used = open_site if level == "user" else site
    used.things["port"] = server.getsockname()[1]
    answering = subprocess.Popen(
        [sys.executable, "-c", "import socket; socket.socket(fileno=0).accept()[0].send(b'x')"], stdin=server.fileno()
    )
    try:
        assert used.run(level, STILL) == "all"
    finally:
        answering.kill()
        answering.wait()
        server.close()


CONNECTS = """
import json, socket, sys
at, found = json.loads(sys.argv[1]), []
def fast_open():
    socket.socket().sendto(b"x", 0x20000000, ("127.0.0.1", at["port"]))
for attempt in (
    lambda: socket.create_connection(("127.0.0.1", at["port"])), fast_open,
    lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9)),
    lambda: socket.socket(socket.AF_UNIX).connect(at["socket"]), socket.socketpair,
):
    try:
        attempt()
        found.append(True)
    except PermissionError:
        found.append(False)
print(json.dumps(found))
"""


@pytest.mark.parametrize(("network", "reached"), [
    (["any"], [True, True, True, False, True]),
    ([], [False, False, False, False, True]),
    (["127.0.0.1:1"], [False, False, False, False, True]),
    (["127.0.0.1:PORT"], [True, False, False, False, True]),
    (["id.internal:1"], [False, False, True, False, True]),
    (["unix"], [False, False, False, True, True]),
    (["any", "unix"], [True, True, True, True, True]),
])  # fmt: skip
def test_network_in_a_definition_opens_the_network(site: Site, network: list[str], reached: list[bool]) -> None:
    """TCP; TCP without connect(2); UDP; a Unix socket at a path; a pair of them."""
    entries = [entry.replace("PORT", str(site.things["port"])) for entry in network]
    assert site.run("landlock", CONNECTS, Access(network=entries)) == reached


OPENS = """
import json, sys
at, found = json.loads(sys.argv[1]), []
for mode in "ra":
    try:
        open(at["file"], mode).close()
        found.append(True)
    except PermissionError:
        found.append(False)
print(json.dumps(found))
"""


def test_files_in_a_definition_opens_files(site: Site) -> None:
    file = str(site.things["file"])
    assert site.run("landlock", OPENS) == [False, False]
    assert site.run("landlock", OPENS, Access(read=[file])) == [True, False]
    assert site.run("landlock", OPENS, Access(read=[str(site.things["folder"])])) == [True, False]
    assert site.run("landlock", OPENS, Access(write=[file])) == [True, True]


def test_a_link_that_a_policy_puts_into_its_folder_opens_nothing(site: Site) -> None:
    """Before it is started again, from the same plan, or from another one."""
    data = site.folder / "data"
    (data / "cache").mkdir(parents=True)
    group = Group("default", site.python, site.folder / "build" / "python-executor",
                  access=Access(write=[str(data), str(data / "cache")]))  # fmt: skip
    build, temporary = BuildOutput(site.folder / "build", (group,)), TemporaryFolder(site.folder / "own")
    temporary.path.mkdir(mode=0o700)
    sandbox = Isolation("landlock", WHOLE).sandbox(build, group, temporary, 1)
    (data / "cache").rmdir()
    (data / "cache").symlink_to(site.folder / "private")
    command = launch_command((str(site.python), "-c", OPENS, json.dumps(site.things)), sandbox=sandbox.plan)
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert json.loads(result.stdout) == [False, False]
    assert f"files: {data}/cache: " in result.stderr
    with pytest.raises(IsolationError, match=f"{data}/cache below {data}, .* a link to {site.folder}/private: "):
        Isolation("landlock", WHOLE).sandbox(build, group, temporary, 1)


def test_links_of_the_operators_are_followed(site: Site) -> None:
    (site.folder / "link").symlink_to(site.folder / "private")
    assert site.run("landlock", OPENS, Access(read=[f"{site.folder}/link/file"])) == [True, False]
    assert site.run("landlock", OPENS, Access(write=[f"{site.folder}/link"])) == [True, True]


def test_paths_of_any_name_are_opened(site: Site) -> None:
    folders = [site.folder / name for name in ("gâteau", "🚀", os.fsdecode(b"\xff"), 'it\'s "quoted"')]
    for folder in folders:
        folder.mkdir()
        shutil.copy(str(site.things["file"]), folder / "file")
        site.things["file"] = str(folder / "file")
        assert site.run("landlock", OPENS, Access(read=[str(folder)])) == [True, False]


def test_a_group_may_have_a_thousand_policies(site: Site) -> None:
    for number in range(1000):
        (site.folder / "build" / "python-executor" / "policies" / f"{'x' * 100}_{number}").mkdir(parents=True)
    assert site.run("landlock", OPENS, Access(read=[str(site.things["file"])])) == [True, False]


def test_a_path_that_is_not_there_is_named(site: Site) -> None:
    result = site.start(Isolation("landlock", WHOLE), "", Access(read=[f"{site.folder}/none"]))
    assert (result.returncode, result.stderr) == (
        0, f"files: {site.folder}/none: No such file or directory: it is not opened to the policies that ask for it\n",
    )  # fmt: skip


@pytest.mark.parametrize("requested", ["/tmp/site", "/tmp", "/tmp/site/run/status.json"])  # noqa: S108
def test_no_policy_may_ask_for_the_gateways_own_files(requested: str) -> None:
    build, temporary = BuildOutput(Path("/build"), ()), TemporaryFolder(Path("/own"))
    group = Group("default", Path("/build/env/bin/python"), Path("/build/r.py"), access=Access(write=[requested]))
    with pytest.raises(
        IsolationError, match=f"group default: .* got {requested} under files, and /tmp/site/run is the gateway's"
    ):
        Isolation("landlock", WHOLE).sandbox(build, group, temporary, 1, [Path("/tmp/site/run")])  # noqa: S108
    Isolation("none", WHOLE).sandbox(build, group, temporary, 1, [Path("/tmp/site/run")])  # noqa: S108


def test_no_policy_writes_to_the_build_that_it_runs_from(site: Site) -> None:
    with pytest.raises(IsolationError, match=r"got .*/build/bin under files, and .*/build is the gateway's"):
        site.run("landlock", OPENS, Access(write=[f"{site.folder}/build/bin"]))
    assert site.run("landlock", OPENS, Access(read=[f"{site.folder}/build"])) == [False, False]


def test_joblib_does_not_try_semaphores_where_they_are_refused(site: Site) -> None:
    """It would warn of that at each start."""
    program = (
        "import json, multiprocessing, os\n"
        "try: found = bool(multiprocessing.Semaphore())\n"
        "except OSError: found = False\n"
        "print(json.dumps([found, os.environ.get('JOBLIB_MULTIPROCESSING')]))"
    )
    assert site.run("landlock", program) == [False, "0"]
    assert site.run("none", program) == [True, None]


def test_limits(site: Site) -> None:
    program = """if True:
        import json, resource
        limits = resource.RLIMIT_CORE, resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE
        print(json.dumps([resource.getrlimit(limit) for limit in limits]))
    """
    expected = [[0, 0], [99, 99], [1000, 1000]]
    for level in ("none", "landlock"):
        assert site.run(level, program, open_files=99, file_bytes=1000) == expected


@AS_OTHERS
def test_a_storm_of_forks_ends_at_its_limit(open_site: Site) -> None:
    program = """if True:
        import os, signal
        children = []
        try:
            while len(children) < 400:
                if not (child := os.fork()):
                    signal.pause()
                children.append(child)
        except BlockingIOError:
            pass
        print(len(children))
        for child in children:
            os.kill(child, signal.SIGKILL)
    """
    assert open_site.run("user", program, processes=300) == 299


@AS_OTHERS
def test_an_interpreter_that_the_user_cannot_read_is_named_with_what_closes_it(open_site: Site) -> None:
    closed = open_site.folder / "build" / "closed"
    closed.mkdir(mode=0o700)
    (closed / "python-executor").mkdir()
    isolated, python = Isolation("user", WHOLE), closed / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(SYSTEM_PYTHON)
    result = replace(open_site, python=python).start(isolated, "")
    uid = isolated.users.uid("default")
    assert result.returncode == 126
    assert (
        f"expected that user {uid}, without privileges, can read {closed}/env, got {closed} with mode 700 and owner 0: "
        in (result.stderr)
    )


@AS_OTHERS
def test_a_temporary_folder_that_the_user_cannot_get_to_is_named_with_what_closes_it(open_site: Site) -> None:
    closed = replace(open_site, temporary=open_site.folder / "private" / "own")
    result = closed.start(Isolation("user", WHOLE), "")
    assert result.returncode == 126
    assert f"can read {closed.temporary}, got {open_site.folder}/private with mode 700" in result.stderr
    assert "TMPDIR" in result.stderr


def test_users_differ_by_group_and_stay_the_same() -> None:
    users = ExecutorUsers()
    assert users.uid("one") == users.uid("one") == ExecutorUsers().uid("one") != users.uid("two")
    few = ExecutorUsers(61184, 61185)
    assert {few.uid("one"), few.uid("two")} == {61184, 61185}
    with pytest.raises(
        IsolationError, match="no user is left between 61184 and 61185 for the group three: give a larger"
    ):
        few.uid("three")


OBSTACLES = "from gatewright_cli.isolation.levels import obstacles; print(obstacles('landlock'), obstacles('user'))"


def test_root_without_capabilities_cannot_run_processes_as_others() -> None:
    command = [*NO_MORE_THAN_A_USER, sys.executable, "-c", OBSTACLES]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert output.startswith("[] ['--isolation user: expected a supervisor that may run processes as other users")
    assert re.search(r"without .*CAP_SETUID.*: start it as root", output)


@pytest.mark.parametrize(("kernel", "level", "lacks"), [
    (WHOLE, "landlock", ()),
    (Kernel(5, "x86_64", True), "landlock", ("signals",)),
    (Kernel(3, "x86_64", True), "landlock", ("TCP ports", "ioctl", "signals")),
    (Kernel(1, "x86_64", True), "landlock", ("truncating", "TCP ports", "ioctl", "signals")),
    (Kernel(7, "riscv64", True), "landlock", ("seccomp filters (riscv64)",)),
    (Kernel(0, "x86_64", True), "none", ("Landlock (Linux 5.13",)),
    (Kernel(0, "x86_64", False), "none", ("Landlock (Linux 5.13", "seccomp filters (x86_64)")),
])  # fmt: skip
def test_what_a_kernel_lacks_is_named(kernel: Kernel, level: str, lacks: tuple[str, ...]) -> None:
    found = Isolation("landlock", kernel)
    assert found.level == level
    assert [what for what, name in zip(found.lacks, lacks, strict=True) if not what.startswith(name)] == []
    assert Isolation("none", kernel).lacks == ()


@pytest.mark.parametrize("abi", range(1, 8))
def test_each_abi_is_asked_for_what_it_knows_and_no_more(site: Site, abi: int) -> None:
    """This kernel enforces the rules of older ABIs too."""
    assert site.run("landlock", OPENS, kernel=Kernel(abi, WHOLE.machine, True)) == [False, False]
    handled = landlock.ruleset(abi, landlock.Rules((), (), ()))["handled"]
    known = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16, 6: 16, 7: 16}
    assert handled == [(1 << known[abi]) - 1, 3 if abi >= 4 else 0, 3 if abi >= 6 else 0]


@pytest.mark.parametrize("machine", seccomp.MACHINES)
def test_a_filter_for_each_machine(machine: str) -> None:
    """As long as the kernel takes (BPF_MAXINSNS), with every jump inside."""
    for sockets in (seccomp.Sockets(), seccomp.Sockets(False, False, False, False), seccomp.Sockets(unix=True)):
        program = seccomp.program(machine, sockets, attributes=False)
        instructions = list(struct.iter_unpack("=HBBI", program))
        assert len(instructions) < 4096
        for at, (code, yes, no, _) in enumerate(instructions):
            if code & 7 == 5:
                assert at + 1 + max(yes, no) < len(instructions)
        assert instructions[-1] == (6, 0, 0, 0x7FFF0000)
