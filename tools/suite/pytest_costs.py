"""A pytest plugin that writes a line of JSON for each test, with its seconds and its CPU seconds, and orders the files.

    PYTHONPATH=tools pytest -p suite.pytest_costs --costs build/tests/units.jsonl …

The CPU seconds of a test are those of the process that runs it and of the children that ended meanwhile. The files that
took longest in the recorded run come first: begun last, one of them would run alone at the end. Those of a folder in
TOGETHER come one after the other, where the longest of them would, and in one process if its share of the time is long
enough.
"""

from __future__ import annotations

import functools
import json
import resource
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from suite.reads import Reads
from suite.record import read_file_seconds

if TYPE_CHECKING:
    from io import TextIOWrapper

CPU, READS, SLOW = "cpu seconds", "reads", "slow"
TOGETHER = ("e2e/inspector",)
"""Folders with fixtures of the package, which end when a file of another folder comes: a gateway and a browser. In one
process, each of these starts once.
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--costs", metavar="FILE", help="write a line of JSON for each test that was run")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Within a file the order stays as it is."""
    places = {file: place for place, file in enumerate(order([_file_of(item.nodeid) for item in items]))}
    items.sort(key=lambda item: places[_file_of(item.nodeid)])


def order(files: Collection[str], seconds: Mapping[str, float] | None = None) -> list[str]:
    """Files as they are to come, each once. seconds: of each in the recorded run, by default."""
    known = read_file_seconds() if seconds is None else seconds
    unknown = max(known.values(), default=0.0)  # a new file may take long
    longest: dict[str, float] = {}
    for file in files:
        group = _group_of(file)
        longest[group] = max(longest.get(group, 0.0), known.get(file, unknown))

    def place(file: str) -> tuple[float, str, float]:
        group = _group_of(file)
        return -longest[group], "" if group == file else group, -known.get(file, unknown)

    return sorted(dict.fromkeys(files), key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """xdist's scheduler of whole files, which takes a folder that one process runs for one file."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]  # here: a process alone has no xdist

    class Scheduling(LoadFileScheduling):  # type: ignore[misc]  # it has no types
        @functools.cached_property
        def _whole(self) -> set[str]:
            return folders_in_one_process([_file_of(nodeid) for nodeid in self.collection], self.numnodes)

        def _split_scope(self, nodeid: str) -> str:
            file = _file_of(nodeid)
            return group if (group := _group_of(file)) in self._whole else file

    return Scheduling(config, log)


def folders_in_one_process(
    files: Collection[str], processes: int, seconds: Mapping[str, float] | None = None
) -> set[str]:
    """The folders of TOGETHER that take at most as long as each of so many processes has to run. seconds: as `order`
    has them.
    """
    known = read_file_seconds() if seconds is None else seconds
    costs: dict[str, float] = defaultdict(float)
    for file in set(files):
        costs[_group_of(file)] += known.get(file, 0.0)
    return {folder for folder in TOGETHER if costs[folder] * processes <= sum(costs.values())}


def _group_of(file: str) -> str:
    return next((folder for folder in TOGETHER if file.startswith(f"{folder}/")), file)


class Meter:
    """Measures, in the process that runs tests, the cost of each test and the files that its file reads."""

    def __init__(self) -> None:
        self._reads = Reads()
        self._begun = 0.0

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> Iterator[None]:
        with self._reads.of(_file_of(collector.nodeid)):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._begun = cpu_seconds()
        with self._reads.of(_file_of(item.nodeid)):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Iterator[None]:
        try:
            return (yield)
        finally:
            item.user_properties.append((CPU, round(cpu_seconds() - self._begun, 4)))
            item.user_properties.append((READS, self._reads.take(_file_of(item.nodeid))))
            if marker := item.get_closest_marker("slow"):
                item.user_properties.append((SLOW, marker.args[0]))


def cpu_seconds() -> float:
    """CPU seconds of this process and of its ended children."""
    usages = [resource.getrusage(scope) for scope in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def pytest_configure(config: pytest.Config) -> None:
    """Only the process that reports writes: a worker of xdist has `workerinput`."""
    if not (path := config.getoption("--costs")):
        return
    config.pluginmanager.register(Meter())
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(CostWriter(path))


class CostWriter:
    """Collects the reports of a test's three phases, and writes the test's line when it is torn down."""

    def __init__(self, path: str) -> None:
        self._file: TextIOWrapper = open(path, "w", encoding="utf-8")  # noqa: PTH123, SIM115
        self._reports: dict[str, list[pytest.TestReport]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        reports = self._reports.setdefault(report.nodeid, [])
        reports.append(report)
        if report.when == "teardown":
            del self._reports[report.nodeid]
            print(json.dumps(line_of(reports)), file=self._file, flush=True)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot be collected counts as a test that failed."""
        if report.failed:
            line = {"test": report.nodeid, "outcome": "failed", "seconds": 0.0, "call": 0.0, "cpu": 0.0}
            print(json.dumps(line), file=self._file, flush=True)

    def pytest_sessionfinish(self) -> None:
        for nodeid, reports in self._reports.items():  # a worker died meanwhile
            print(json.dumps({**line_of(reports), "test": nodeid, "outcome": "failed"}), file=self._file, flush=True)
        self._file.close()


def line_of(reports: list[pytest.TestReport]) -> dict[str, object]:
    """seconds: of the whole test with its fixtures. call: of the test alone."""
    last = reports[-1]
    properties = dict(last.user_properties)
    return {
        "test": last.nodeid,
        "outcome": _outcome_of(reports),
        "seconds": round(sum(report.duration for report in reports), 4),
        "call": round(sum(report.duration for report in reports if report.when == "call"), 4),
        "cpu": properties.get(CPU, 0.0),
        "slow": properties.get(SLOW, ""),
        "reads": properties.get(READS, []),
    }


def _outcome_of(reports: list[pytest.TestReport]) -> str:
    outcomes = [report.outcome for report in reports]
    return next((outcome for outcome in ("failed", "skipped") if outcome in outcomes), "passed")


def _file_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]
