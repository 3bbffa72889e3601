"""tools/policy_pages.py: the page that lists policies has their figures, where there are any."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOL = runpy.run_path(str(ROOT / "tools" / "policy_pages.py"))
FIGURES = """\
- `python -m bench shipped`, rounds: 9

| policy | CPU µs | beyond one that sets a header, × plain Envoy |
| --- | ---: | ---: |
| cors | 61.2 | 0.04 (0.01–0.09) |
"""


def listed(costs: Path) -> str:
    return str(TOOL["pages"](costs)["policies-that-ship.md"])


def test_each_policy_that_ships_is_listed_and_has_a_page() -> None:
    names = {path.parent.name for path in ROOT.glob("policies/*/policy-definition.yaml")}
    pages = TOOL["pages"]()
    assert set(pages) == {"policies-that-ship.md"} | {f"policy-{name}.md" for name in names}
    assert [name for name in names if f"| [`{name}`](policy-{name}.md) | " not in pages["policies-that-ship.md"]] == []


def test_metrics_have_the_names_that_operators_see() -> None:
    """The engine puts `gatewright_policy_` before the name in a policy's code."""
    sources = [*ROOT.glob("policies/**/*.py"), *ROOT.glob("policies/*/*.go")]
    made = re.compile(r'\b(?:Counter|Gauge|Histogram)\(\s*"([a-z0-9_]+)"')
    names = {name for path in sources for name in made.findall(path.read_text())}
    assert {"llm_route_answers_total", "gen_ai_client_token_usage", "lines_lost_total"} <= names
    bare = re.compile(rf"(?<![a-z0-9_])(?:{'|'.join(sorted(names))})(?![a-z0-9_])")
    pages = TOOL["pages"]() | {str(path): path.read_text() for path in ROOT.glob("docs/*/*.md")}
    assert {name: found for name, page in pages.items() if (found := bare.findall(page))} == {}


def test_stand_ins_are_named_and_filled_by_the_shell() -> None:
    page = TOOL["pages"]()["policy-jwt-auth.md"]
    assert "Replace `$ISSUER`, `$TOKEN`, `$READER` by your own.\n\n```yaml\n" in page
    assert "\ncurl -i -H \"authorization: Bearer $TOKEN\" -H 'x-user: root' http" in page
    assert not [name for name in ("rewrite", "basic-auth") if " by your own." in TOOL["pages"]()[f"policy-{name}.md"]]


def test_figures_stand_below_the_list_with_how_they_were_measured(tmp_path: Path) -> None:
    costs = tmp_path / "shipped.md"
    without = listed(costs)
    assert "What they cost" not in without
    costs.write_text(f"\n{FIGURES}\n")
    before, _, behind = listed(costs).partition("\n## What they cost\n\n")
    assert before == without
    assert behind.startswith("CPU of a request, of all of the gateway's processes, each policy alone ")
    assert "in requests of plain Envoy" in behind
    assert behind.endswith(f"on your machine.\n\n{FIGURES}")


@pytest.mark.parametrize("reason", ["", "bench: wrong answers\n"])
def test_figures_without_a_table_are_refused(reason: str, tmp_path: Path) -> None:
    costs = tmp_path / "shipped.md"
    costs.write_text(reason)
    with pytest.raises(ValueError, match=r"shipped\.md: expected the table that `python -m bench shipped` prints, got"):
        listed(costs)
