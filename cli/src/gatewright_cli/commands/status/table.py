"""The status of a run as tables for people."""

from __future__ import annotations

from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gatewright_cli.commands.status.health import RunStatus, health, shortcomings
from gatewright_cli.supervision.logs.records import CONTROL

UNBOUNDED = 10_000  # columns, if the output goes to a program
COLOURS = {"ready": "green", "deployed": "green", "healthy": "green", "rejected": "red", "not serving": "red"}
OTHER_COLOUR = "yellow"


def write(status: RunStatus, file: TextIO) -> None:
    """Headings and columns; in colour, and as wide as the terminal, where `file` is one."""
    console = Console(file=file, highlight=False, emoji=False, width=None if file.isatty() else UNBOUNDED)
    word = health(status).word
    headline = Text(word, style=_colour(word))
    headline.append("".join(f"{', ' if number else ': '}{text}" for number, text in enumerate(shortcomings(status))))
    _print(console, headline)
    _print(console, Text(f"{status['url']}  pid {status['pid']}  build {status['build']}"))
    if controller := status.get("controller"):
        _print(console, Text(f"management API {controller}  token in {status['tokenFile']}"))
    if metrics := status.get("metrics"):
        _print(console, Text(f"metrics {metrics}"))
    if inspector := status.get("inspector"):
        _print(console, Text(f"inspector {inspector}  `gatewright inspector` signs in"))
    tables = (
        (_processes(status), PROCESS),
        (_listeners(status), LISTENER),
        (_certificates(status), CERTIFICATE),
        (_acme_certificates(status), OBTAINED),
        (_apis(status), API),
        (_notes(status), NOTE),
    )
    for rows, columns in tables:
        if rows:
            _print(console, Text())
            _print(console, _table(columns, rows))


PROCESS = ("PROCESS", "STATE", "PID", "RESTARTS", "GENERATION", "ISOLATION", "LISTENS ON")
LISTENER = ("LISTENER", "URL")
CERTIFICATE = ("CERTIFICATE", "KIND", "ENDS", "DAYS LEFT")
API = ("API", "VERSION", "CONTEXT", "STATE", "REASON")
OBTAINED = ("BY ACME", "HOSTS", "ENDS", "NEXT", "ERROR")
NOTE = ("NOTE", "RESPONSIBLE", "WHY", "WHAT TO DO")


def _processes(status: RunStatus) -> list[list[object]]:
    return [
        [
            process["name"],
            f"{process['state']}, leaving" if process["leaving"] else process["state"],
            process["pid"] or "",
            process["restarts"],
            process.get("generation", ""),
            _isolation(process.get("isolation")),
            process["listen"] or "",
        ]
        for process in status["processes"]
    ]


def _isolation(isolation: dict[str, Any] | None) -> str:
    """The isolation of a process that runs policies; "" for others."""
    if isolation is None:
        return ""
    return str(isolation["level"]) + (" (incomplete)" if isolation["lacks"] else "")


def _listeners(status: RunStatus) -> list[list[object]]:
    served = [[listener["name"], listener["url"]] for listener in status.get("listeners", [])]
    return served + [[name, "closed"] for name in status.get("closedListeners", [])]


def _certificates(status: RunStatus) -> list[list[object]]:
    return [
        [certificate["name"], certificate["kind"], certificate["ends"], _days_left(certificate)]
        for certificate in status.get("certificates", [])
    ]


def _days_left(certificate: dict[str, Any]) -> str:
    return "expired" if certificate["daysLeft"] < 0 else str(certificate["daysLeft"])


def _apis(status: RunStatus) -> list[list[object]]:
    apis = [
        [api["name"], api["version"], _places(api), api["state"], api.get("note") or api["reason"]]
        for api in status["apis"]
    ]
    files = [
        [
            file["api"] or "?",
            "",
            "",
            file["state"],
            "\n".join(_mistake_line(file["file"], mistake) for mistake in file["mistakes"]),
        ]
        for file in status["refusedFiles"]
    ]
    return [*apis, *files]


def _acme_certificates(status: RunStatus) -> list[list[object]]:
    """Certificates by ACME. NEXT: when the certificate is obtained, renewed or tried again."""
    return [
        [
            certificate["name"],
            " ".join(certificate["hosts"]),
            certificate["notAfter"] or "not obtained",
            certificate["next"],
            certificate["error"],
        ]
        for certificate in status.get("acme", [])
    ]


def _places(api: dict[str, Any]) -> str:
    """The API's context on each of its hosts; the context alone if it serves every host."""
    return "\n".join(f"{host}{api['context']}" for host in api.get("hosts", [])) or str(api["context"])


def _mistake_line(file: str, mistake: dict[str, object]) -> str:
    line, field = mistake.get("line"), mistake.get("field")
    return f"{file}{f':{line}' if line else ''}: {f'{field}: ' if field else ''}{mistake['message']}"


def _notes(status: RunStatus) -> list[list[object]]:
    """All notes but those of upstreams, which stand beside their APIs."""
    return [
        [note["title"], note["party"], note["reason"], note["cure"]]
        for note in status.get("notes", [])
        if note["about"]["kind"] != "api"
    ]


def _table(columns: tuple[str, ...], rows: list[list[object]]) -> Table:
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    return table


def _cell(value: object) -> Text:
    text = "\n".join(CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", line) for line in str(value).splitlines())
    return Text(text, style=_colour(text) if text in STATES else "")


STATES = {*COLOURS, "pending", "waiting", "starting", "restarting", "stopping", "stopped"}


def _colour(word: str) -> str:
    return COLOURS.get(word, OTHER_COLOUR)


def _print(console: Console, renderable: Text | Table) -> None:
    """Prints without the blanks that pad the last column."""
    if console.is_terminal:
        console.print(renderable)
        return
    with console.capture() as captured:
        console.print(renderable)
    console.file.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))
