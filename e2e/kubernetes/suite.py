"""The conformance suite of Gateway API: which of its tests there are, a run of them, and its report."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from e2e.kit.places import ROOT
from e2e.kubernetes.lab import Cluster
from e2e.kubernetes.lab.client import Json
from e2e.kubernetes.lab.programs import program

OUTPUT = ROOT / "build" / "kubernetes"
"""What a run leaves behind: the report, and the suite's output."""
REPORT = OUTPUT / "report.yaml"
PROFILES = ("GATEWAY-HTTP", "GATEWAY-GRPC")
SETTINGS = ("-test.v", "-test.timeout=2h", "-disable-parallel-tests", "-cleanup-base-resources=false")
"""Two tests at a time would share two cores with the nodes of ten Gateways; the cluster goes with all that is in it."""
PROGRAM = "gateway-api-conformance"
RESULT = re.compile(r"^ *--- (PASS|FAIL|SKIP): TestConformance/([^/ ]+) ")
SWITCH = re.compile(r"^=== (?:RUN|CONT|NAME|PAUSE) +TestConformance/([^/ ]+)")
Verdict = Literal["PASS", "FAIL", "SKIP"]


@dataclass(frozen=True)
class Outcome:
    """output: the lines of a test and its parts."""

    verdict: Verdict
    output: str

    @property
    def skip_reason(self) -> str:
        """In the suite's words: a feature that the GatewayClass does not say, mostly."""
        return next((line.partition("Skipping ")[2] for line in self.output.splitlines() if "Skipping " in line), "")


def names_of_tests() -> list[str]:
    """In the suite's order."""
    return subprocess.run([program(PROGRAM), "list"], capture_output=True, text=True, check=True).stdout.split()


def run_suite(cluster: Cluster, class_name: str, names: Collection[str], version: str) -> dict[str, Outcome]:
    """Runs these tests, and writes the suite's report where they are all that there are."""
    others = [name for name in names_of_tests() if name not in names]
    OUTPUT.mkdir(parents=True, exist_ok=True)
    flags = {
        "gateway-class": class_name, "conformance-profiles": ",".join(PROFILES), "skip-tests": ",".join(others),
        "report-output": str(REPORT), "organization": "gatewright", "project": "gatewright",
        "url": "https://gatewright.dev", "version": version, "contact": "https://gatewright.dev",
    }  # fmt: skip
    command = [program(PROGRAM), *SETTINGS, *(f"-{name}={text}" for name, text in flags.items())]
    REPORT.unlink(missing_ok=True)
    log = OUTPUT / "suite.log"
    with log.open("w") as output:
        environment = os.environ | {"KUBECONFIG": str(cluster.kubeconfig)}
        subprocess.run(command, env=environment, stdout=output, stderr=output, check=False)
    return read_outcomes(log.read_text().splitlines())


def read_outcomes(lines: Iterable[str]) -> dict[str, Outcome]:
    """Of each test that has ended, by its name; "" is what came before the first: a setup that failed."""
    verdicts: dict[str, Verdict] = {}
    parts: dict[str, list[str]] = {"": []}
    current = ""
    for line in lines:
        if switched := SWITCH.match(line):
            current = switched[1]
        if ended := RESULT.match(line):
            verdicts[ended[2]] = "PASS" if ended[1] == "PASS" else "FAIL" if ended[1] == "FAIL" else "SKIP"
        parts.setdefault(current, []).append(line)
    outcomes = {name: Outcome(verdict, "\n".join(parts.get(name, []))) for name, verdict in verdicts.items()}
    return outcomes | {"": Outcome("FAIL", "\n".join(parts[""]))}


def read_report() -> Json:
    """Empty where the suite did not come to its end."""
    if not REPORT.exists():
        return {}
    report: Json = yaml.safe_load(REPORT.read_text())
    return report


def summary_of(report: Json) -> str:
    """Lines for people: of each profile its core and extended tests, and the features."""
    lines = []
    for profile in report.get("profiles", []):
        for part in ("core", "extended"):
            found = profile.get(part)
            if not found:
                continue
            counts = ", ".join(f"{name} {count}" for name, count in found["statistics"].items())
            lines.append(f"{profile['name']} {part}: {found['result']} ({counts})")
            for key in ("failedTests", "skippedTests", "supportedFeatures", "unsupportedFeatures"):
                lines += [f"    {key}: {', '.join(found[key])}"] if found.get(key) else []
    return "\n".join(lines)


def write_summary(report: Json) -> Path:
    file = OUTPUT / "summary.txt"
    file.write_text(summary_of(report) + "\n")
    return file
