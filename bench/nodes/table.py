"""The figures of all numbers of APIs in one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from bench.nodes.campaign import Cost, Figures

LAST_MS = 2000
"""Within which all nodes are to have a change."""


def markdown(figures: Sequence[Figures], count: int, others: int) -> Iterator[str]:
    """The lines of the table. count: of simulated nodes; others: of whole ones beside them."""
    yield f"| {count} simulated nodes, {others} whole ones | {' | '.join(f'{own.apis:,} APIs' for own in figures)} |"
    yield f"| --- | {' | '.join('---:' for _ in figures)} |"
    for title, cell in _rows(figures):
        yield f"| {title} | {' | '.join(map(cell, figures))} |"


def _rows(figures: Sequence[Figures]) -> Iterator[tuple[str, Callable[[Figures], str]]]:
    yield (
        f"a change, from the write's answer until the last node has it: ms, p50 / p95 / most, wanted ≤ {LAST_MS:,}",
        lambda own: spread([max(change.last, 0.0) for change in own.changes.all]),
    )
    yield (
        "· from the write's request until the last node has it",
        lambda own: spread([change.answered + change.last for change in own.changes.all]),
    )
    yield "· the first node", lambda own: spread([change.answered + change.first for change in own.changes.all])
    yield "· the answer", lambda own: spread([change.answered for change in own.changes.all])
    yield "· CPU of the controller, ms each", lambda own: _each(own.changes.cpu, len(own.changes.all))
    yield (
        "· the answer with `?wait`, once all nodes have reported",
        lambda own: spread([change.answered for change in own.waited.all]),
    )
    if any(own.seen for own in figures):
        yield "· from the answer until requests to all whole nodes see it", lambda own: spread(own.seen)
    yield "`gatewright apply` of all APIs, until deployed: s; CPU s; RSS, peak MB", lambda own: _cost(own.bulk)
    yield "after a restart, all nodes are up to date: s; CPU s; RSS, peak MB", lambda own: _cost(own.restart)
    yield "as many new nodes, until all have all APIs: s; CPU s; RSS, peak MB", lambda own: _cost(own.anew)
    yield "CPU while nothing happens, % of a core", lambda own: f"{100 * own.idle:.1f}"
    for page in figures[0].pages:
        yield f"`{page}`: ms, KB", lambda own, page=page: _page(own, page)  # type: ignore[misc]
    yield "`gatewright get nodes`: s", lambda own: f"{own.get_nodes:.2f}"


def _page(own: Figures, title: str) -> str:
    page = own.pages[title]
    return f"{1000 * page.seconds:.0f}, {page.size / 1000:,.0f}"


def _each(cpu: float, count: int) -> str:
    return f"{1000 * cpu / count:.0f}"


def _cost(cost: Cost) -> str:
    return f"{cost.seconds:.2f}; {cost.cpu:.1f}; {cost.memory.rss:.0f}, {cost.memory.peak:.0f}"


def spread(seconds: Sequence[float]) -> str:
    """ms: the median, the 95th of 100, the most."""
    ordered = sorted(seconds)
    found = (ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.95, 1.0))
    return " / ".join(f"{1000 * value:.0f}" for value in found)
