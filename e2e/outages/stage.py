"""Two controllers of one PostgreSQL, each with a node, under traffic and writes."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import postgresql_server

from e2e.kit.gateway import Gateway, Json, eventually, running
from e2e.kit.listening import free_port
from e2e.kit.load import run_checking_upstream
from e2e.kit.namespaces import Namespace
from e2e.kit.places import ROOT
from e2e.kit.writes import find_mistakes, history_of
from e2e.outages.timeline import Timeline
from e2e.outages.traffic import STAMP, Request, Target, Traffic, running_traffic
from e2e.outages.writers import Journal, Site, put, writing

NAMES = [f"api-{number}" for number in range(8)]
RATE = 200.0
WRITERS_EACH = 2
SETTLE_SECONDS = 60.0
POLL_SECONDS = 0.02
LOGS = ROOT / "build" / "outage-logs"


@dataclass
class Stage:
    """What outages happen to."""

    sites: Sequence[Site]
    servers: list[postgresql_server.Server]
    """The primary first."""
    traffic: Traffic
    journal: Journal = field(default_factory=Journal)
    timeline: Timeline = field(default_factory=Timeline)

    @contextlib.contextmanager
    def loaded(self) -> Iterator[None]:
        """Traffic and writes meanwhile."""
        with running_traffic(self.traffic), writing(self.sites, NAMES, WRITERS_EACH, self.journal):
            yield

    def converge(self, since: float) -> dict[str, float]:
        """By site: seconds from then until a write at it was acknowledged and all nodes had it."""
        found: dict[str, float] = {}
        probes = [threading.Thread(target=self._probe, args=(site, since, found)) for site in self.sites]
        for probe in probes:
            probe.start()
        for probe in probes:
            probe.join(2 * SETTLE_SECONDS)
        return found

    def _probe(self, site: Site, since: float, found: dict[str, float]) -> None:
        name, stamps = probe_of(site), (f"{site.name}{since:.3f}-{number}" for number in itertools.count())
        stamp = ""

        def is_written() -> bool:
            nonlocal stamp
            stamp = next(stamps)
            with contextlib.suppress(OSError, ValueError), site.client() as client:
                return put(site, client, name, stamp, 0, self.journal).outcome == "acknowledged"
            return False

        wait_for(f"{site.name} takes writes again", is_written)
        for node in self.sites:
            wait_for(f"{node.name} serves the write at {site.name}", partial(serves, node, name, stamp))
        found[site.name] = time.time() - since

    def mistakes(self) -> list[str]:
        """What acknowledged writes, the store and the nodes do not agree on. Call it once all writers have ended."""
        names = [*NAMES, *map(probe_of, self.sites)]
        with self.sites[0].client() as client:
            history = {name: history_of(client, name) for name in names}
        mistakes = find_mistakes(self.journal.writes, history)
        for name in names:
            newest = max(history[name], key=lambda entry: entry.revision).stamp
            for site in self.sites:
                with contextlib.suppress(AssertionError):
                    wait_for("", partial(serves, site, name, newest), 10.0)
                    continue
                mistakes.append(f"{site.name} serves {served(site, name)} of {name}, and the store has {newest}")
        return mistakes


def probe_of(site: Site) -> str:
    """The API by which it is seen whether nodes have what is written at the site."""
    return f"probe-{site.name}"


def served(site: Site, name: str) -> str:
    """The stamp by which the site's node answers; "" where it does not."""
    if site.visitor:
        return site.visitor.submit(_stamp_at, site.gateway.port, name).result()
    return _stamp_at(site.gateway.port, name)


def _stamp_at(port: int, name: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("GET", f"/{name}/x")
        return connection.getresponse().getheader(STAMP, "")
    return ""


def serves(site: Site, name: str, stamp: str) -> bool:
    return served(site, name) == stamp


def serves_at_least(site: Site, name: str, stamp: str) -> bool:
    """Stamps are "first", then numbers that grow."""
    found = served(site, name)
    return found == stamp or (found.isdecimal() and int(found) >= (int(stamp) if stamp.isdecimal() else 0))


def wait_for(what: str, condition: Callable[[], bool], seconds: float = SETTLE_SECONDS) -> None:
    """As `eventually`, and looks often: the time is what is measured."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(POLL_SECONDS)


def controller_warnings(gateway: Gateway, since: float) -> list[Json]:
    """What the controller has logged from then on, of weight."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(since))
    return [
        record
        for record in gateway.records()
        if record.get("component") == "controller"
        and record.get("level") in ("warning", "error")
        and str(record.get("time", "")) >= stamp
    ]


def flags_of(site: Site, request: Request) -> str:
    """The line of the node's access log on the request; it has lines of errors alone."""
    identifier = dict(request.headers).get("x-request-id", "")
    for line in (site.gateway.run_dir / "access.log").read_text().splitlines():
        if identifier and identifier in line:
            return json.dumps(json.loads(line))
    return "no line in the access log"


def keep_log(site: Site) -> str:
    """What has happened once may not do so again: a sentence that says where the gateway's log is."""
    LOGS.mkdir(parents=True, exist_ok=True)
    file = LOGS / f"{site.name}.log"
    file.write_text("".join(f"{line}\n" for line in site.gateway.log), encoding="utf-8")
    return f"the log of {site.name} is in {file.relative_to(ROOT)}"


@contextlib.contextmanager
def staged(tool: Path, build: Path) -> Iterator[Stage]:
    """Starts all of it; the standby is synchronous, so that an acknowledged write is at both servers."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="outages-")))
        primary = stack.enter_context(postgresql_server.server(free_port()))
        standby = stack.enter_context(postgresql_server.server(free_port(), primary))
        make_synchronous(primary)
        file = folder / "database"
        file.write_text(url_of([primary, standby]))
        names = [*NAMES, "probe-a", "probe-b"]
        upstream = stack.enter_context(run_checking_upstream(tool, {f"/{name}": {} for name in names}))
        sites = []
        for name in ("a", "b"):
            start = site_of(name, build, folder, f"GATEWRIGHT_CONTROLLER_DATABASE_FILE={file}", upstream)
            sites.append(stack.enter_context(start))
        for name in names:
            sites[0].gateway.deploy(sites[0].stamped(name, "first"))
        for site in sites:
            for name in names:
                wait_for(f"{site.name} serves {name}", partial(serves, site, name, "first"))
        targets = [Target(site.name, site.gateway.port, f"/{name}/x") for name in NAMES for site in sites]
        yield Stage(sites, [primary, standby], Traffic(targets, RATE))


@contextlib.contextmanager
def site_of(
    name: str,
    build: Path,
    folder: Path,
    variable: str,
    upstream: str,
    *options: str,
    namespace: Namespace | None = None,
) -> Iterator[Site]:
    """Runs a gateway, whose access log has errors alone. variable: of its environment. namespace: where it runs."""
    with tempfile.TemporaryDirectory(prefix="gw-") as run_dir:
        log, admin = str(Path(run_dir) / "access.log"), free_port()
        options = ("--node-id", name, "--access-log-sample", "0", "--access-log", log, *options)
        options = ("--admin-port", str(admin), "--drain-seconds", "1", *options)
        within = [*(namespace.within if namespace else []), "env", variable]
        with running(build, folder / name, *options, within=within, run_dir=Path(run_dir)) as gateway:
            yield Site(name, gateway, upstream, admin)


def url_of(servers: Sequence[postgresql_server.Server]) -> str:
    """The URL with which controllers find the server that can be written to."""
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    identity = f"{postgresql_server.USER}:{postgresql_server.PASSWORD}"
    return f"postgresql://{identity}@{hosts}/{postgresql_server.DATABASE}?target_session_attrs=read-write"


def make_synchronous(primary: postgresql_server.Server) -> None:
    """A commit waits from then on until the standby has it."""
    import psycopg  # here, for a module that is imported where no driver is

    with psycopg.connect(primary.url, autocommit=True) as connection:
        connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{postgresql_server.STANDBY}'")
        connection.execute("SELECT pg_reload_conf()")
        state = "SELECT sync_state FROM pg_stat_replication"
        eventually("the standby is synchronous", lambda: connection.execute(state).fetchall() == [("sync",)])
