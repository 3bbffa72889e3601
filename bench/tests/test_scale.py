from __future__ import annotations

from pathlib import Path

import yaml

from bench.scale import apis, campaign
from bench.scale.apis import Fleet
from bench.scale.campaign import Figures, OneByOne, Place, Singles
from bench.scale.node import COMMAND, PROCESSES, Cost, Listing, Memory
from bench.scale.table import markdown
from bench.tests.samples import sample


def test_files_say_what_documents_do(tmp_path: Path) -> None:
    fleet = Fleet("127.0.0.1:9000", pools=2, python=True)
    fleet.write(range(3), tmp_path / "apis")
    files = sorted((tmp_path / "apis").iterdir())
    assert [yaml.safe_load(file.read_text()) for file in files] == [fleet.document(number) for number in range(3)]


def test_every_api_is_asked_in_the_state_that_measuring_has_left() -> None:
    assert campaign.state_of(Place(10, "first", 0), singles=50) == "second-4"
    assert campaign.state_of(Place(1000, "last", 999), singles=50) == "first"
    assert campaign.state_of(Place(1000, "middle", 500), singles=50) == "second-25"


def test_names_and_contexts_of_new_apis_stand_behind_all_others() -> None:
    assert apis.name_of(campaign.NEW) > apis.name_of(99_999)
    assert apis.context_of(campaign.NEW) > apis.context_of(99_999)


def test_a_table_has_a_column_for_each_number_of_apis() -> None:
    cost = Cost(2.0, dict.fromkeys((COMMAND, *PROCESSES), 1.0))
    memory = dict.fromkeys(PROCESSES, Memory(100.0, 120.0))
    singles = Singles([0.1, 0.3, 0.2], cost)
    listing = Listing(1.0, 2_000_000, 1)
    figures = [Figures(size, cost, memory, cost, singles, singles, listing, memory) for size in (10, 1000)]
    samples = [
        sample(place.key, round_, Envoy=cpu * (1.0 + place.number / 1000))
        for round_, cpu in enumerate((100.0, 120.0, 110.0))
        for place in campaign.places((10, 1000))
    ]
    lines = list(markdown(figures, OneByOne([0.01] * 60 + [0.02] * 60, cost), samples))
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
    text = "\n".join(lines)
    assert "| one more, until live: ms, p50 / p95 / most | 200 / 300 / 300 | 200 / 300 / 300 |" in text
    assert "to the last API, µs | 111 (1.01 ×) | 220 (2.00 ×) |" in text
    assert "(10.0 ms each at first, 20.0 at the end)" in text
