"""Twelve faults, the words for their parties and cures, and the page with the tools' reports on each.

These are the rows of docs/reference/told-faults.md:

pytest e2e/observe/test_faults_are_told.py --update        writes the reports
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from e2e.kit.places import ROOT

PAGE = ROOT / "docs" / "reference" / "told-faults.md"
TOOLS = {"status": "`status`", "tail": "`tail`", "explain": "`explain`", "inspector": "Inspector", "alert": "alert"}
NO_STATUS = "the node itself is healthy"
NO_REQUEST = "no request fails because of it"
NO_CONNECTION = "clients cannot connect, so that there is no request"


@dataclass(frozen=True)
class Fault:
    """names: of its API, listener or certificate, as tools write them. party, cure: expressions of the words for them.
    alert: the one that it sets off. shortcoming: an expression of the status's words without the names. silent: the
    tools that rightly report nothing, and the reason."""

    whose: str
    names: Sequence[str]
    party: str
    cure: str
    alert: str = ""
    shortcoming: str = ""
    silent: Mapping[str, str] = field(default_factory=dict)


NO_REQUEST_TOLD = {"tail": NO_REQUEST, "explain": NO_REQUEST}
OF_CLIENTS = {"status": NO_STATUS, "alert": "an operator cannot correct what clients request"}
FAULTS: Mapping[str, Fault] = {
    "the upstream's port is closed": Fault(
        "upstream", ["refusing"], "upstream",
        "start the upstream|[Cc]heck that it runs|See whether (its process|the upstream) runs",
        "GatewrightUpstreamUnreachable",
    ),
    "the upstream speaks no TLS": Fault(
        "upstream", ["plain"], "upstream",
        "write http://|[Cc]heck that it runs|See whether the upstream runs|has reason and cure",
        "GatewrightUpstreamFails",
    ),
    "the upstream is too slow": Fault(
        "upstream", ["slow"], "upstream", "raise requestTimeout|has reason and cure", "GatewrightUpstreamFails",
        silent={"status": NO_STATUS},
    ),
    "the upstream's name does not resolve": Fault(
        "upstream", ["unresolved"], "upstream", "[Cc]orrect the name|has reason and cure", "GatewrightUpstreamFails",
        shortcoming="APIs not deployed",
    ),
    "no target of the upstream is healthy": Fault(
        "upstream", ["unhealthy"], "upstream|target",
        "[Cc]heck that the targets run|See whether the upstream runs|gatewright status",
        "GatewrightUpstreamDown",
    ),
    "no API has the path": Fault(
        "client", ["ordrs"], "no API has the path|the client's", "request a path|/orders", silent=OF_CLIENTS
    ),
    "no operation takes the method": Fault(
        "client", ["orders"], "takes PUT|the client's", "use a method", silent=OF_CLIENTS
    ),
    "a policy raises": Fault(
        "policy", ["raises"], "misbehave:v1.0.0", "policy.py:LINE|with file and line", "GatewrightPolicyFails",
        silent={"status": "clients get the error, the node itself is healthy"},
    ),
    "a policy holds the interpreter": Fault(
        "policy", ["holds"], "faulty:v1.0.0", "policy.py:LINE|fix the policy", "GatewrightPolicyQuarantined",
        shortcoming="under quarantine",
    ),
    "the only certificate of a listener cannot be used": Fault(
        "operator", ["partners", "broken"], "partners|broken",
        "expected a PEM|[Ff]ix the files|names the file and the cure",
        "GatewrightListenerClosed", silent={"tail": NO_CONNECTION, "explain": NO_CONNECTION},
    ),
    "a certificate ends within a day": Fault(
        "operator", ["ending"], "ending", "[Rr]eplace its file|Renew it", "GatewrightCertificateEndsToday",
        silent=NO_REQUEST_TOLD,
    ),
    "the controller's database is damaged": Fault(
        "operator", ["controller.db"], "database", "put a backup|the cure", "GatewrightControllerDatabase",
        shortcoming="cannot open its database", silent=NO_REQUEST_TOLD,
    ),
}  # fmt: skip
assert len(FAULTS) == 12

VARYING = (
    (r"[^\s(]*policies/(\S*policy\.py):\d+", r"policies/\1:LINE"),
    (r"/[^\s()]*/([\w-]+\.(?:pem|key|db))", r"\1"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
    (r"127-0-0-1-\d+\|\w+", "127-0-0-1-PORT|ID"),
    (r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID"),
    (r"(?:\d{4}-\d\d-\d\d[T ])?\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?", "TIME"),
    (r"\d+ h \d+ min|(?:\d+[dhm] )+[\d.]+s\b|\d[\d.]* ?m?s\b", "DURATION"),
    (r"\S+(?= requests a second)", "N"),
    (r"\b\d+ of \d+(?= connections)", "N of N"),
    (r"\d[\d.]*%", "N %"),
    (r"(does not resolve): [^.;()]*?(?=\s*(?:[.;()]|$))", r"\1"),
)
"""Texts that vary, and their replacements."""


def normalize(text: str) -> str:
    """The text on one line, without what varies."""
    text = " ".join(text.split())
    for pattern, word in VARYING:
        text = re.sub(pattern, word, text)
    return text


def mark_of(fault: Fault, text: str) -> str:
    """The parts named by the words: party, cure or both; "–" without words."""
    named_by = [name for name, words in (("party", fault.party), ("cure", fault.cure)) if re.search(words, text)]
    return ", ".join(named_by) if text else "–"


def replace_tables(page: str, texts: Mapping[str, Mapping[str, str]]) -> str:
    """The page with the reports by fault and tool."""
    head, line, _ = page.partition("the reason stands below.\n")
    assert line, "expected the line before the table"
    rows = [["fault", "whose", *TOOLS.values()], ["---"] * (len(TOOLS) + 2)]
    rows += [
        [name, fault.whose, *(mark_of(fault, texts[name][tool]) for tool in TOOLS)] for name, fault in FAULTS.items()
    ]
    sections = [_section(name, fault, texts[name]) for name, fault in FAULTS.items()]
    return "\n".join([head + line, _table(rows), "## In their words", "", *sections]).rstrip("\n") + "\n"


def _section(name: str, fault: Fault, texts: Mapping[str, str]) -> str:
    rows = [[word, _escaped(texts[tool]) or f"– ({fault.silent.get(tool, '')})"] for tool, word in TOOLS.items()]
    return "\n".join([f"### {name[0].upper()}{name[1:]}", "", _table([["tool", "report"], ["---", "---"], *rows])])


def _table(rows: Sequence[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _escaped(text: str) -> str:
    """As Markdown's text: no emphasis, no column."""
    return re.sub(r"([|*_<\[\]])", r"\\\1", text)
