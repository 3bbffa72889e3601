"""What the Inspector's scripts compute, beside the same by Prometheus' client or by hand."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from playwright.sync_api import Page
from prometheus_client.parser import text_string_to_metric_families as plain_text

from e2e.inspector.sample_documents import UNWELL, unwell, well
from e2e.kit.gateway import Gateway, Json

HOSTILE = r"""
# HELP x Text with a {brace="of it"} 3
# TYPE x untyped
x 1
x{} 2
x{a="b"} 3 1700000000000
x{a="with \"quotes\", a \\ and a \n line",b="} 4",} 5
x{ c = "spaces" , d = "too" } 6e3
y{le="+Inf"} +Inf
y -Inf
z NaN
"""
SPOILT = 'x{a="b" 1\nx{a=b} 1\nx{a="b"}\nx{a="b} 1\n{"x"} 1\n 1\nx one\nx{a="b"} 1.2.3\nok 7\n'


def call(page: Page, module: str, expression: str, given: object = None) -> Any:
    """What the expression is, of what the module `m` exports and of `given`."""
    script = f"async (given) => {{ const m = await import('/assets/lib/{module}.js'); return {expression}; }}"
    return page.evaluate(script, given)


PARSED = """[...m.parse(given)].flatMap(([name, samples]) =>
  samples.map(({ labels, value }) => [name, labels, Number.isFinite(value) ? value : String(value)]))"""


def by_client(text: str) -> list[list[object]]:
    samples = [one for family in plain_text(text) for one in family.samples]
    return [[one.name, dict(one.labels), told(one.value)] for one in samples]


def told(value: float) -> object:
    return value if math.isfinite(value) else {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")


def ordered(samples: list[Any]) -> list[Any]:
    numbers = [[name, labels, value if isinstance(value, str) else float(value)] for name, labels, value in samples]
    return sorted(numbers, key=lambda one: (one[0], sorted(one[1].items()), str(one[2])))


def test_what_is_read_is_what_prometheus_reads(page: Page, gateway: Gateway) -> None:
    with gateway.controller() as client:
        text = client.get("/v1/nodes/node-1/metrics").text
    assert len(text) > 10_000
    for each in (text, HOSTILE):
        assert ordered(call(page, "metrics", PARSED, each)) == ordered(by_client(each))


def test_what_is_spoilt_is_left_out(page: Page) -> None:
    assert call(page, "metrics", PARSED, SPOILT) == [["ok", {}, 7]]


def test_what_counters_have_counted_between_two_answers(page: Page) -> None:
    """One that has begun anew counts from zero, and so does one that has just appeared; none goes back."""
    before = 'c{k="grows"} 5\nc{k="same"} 5\nc{k="again"} 5\nc{k="gone"} 5\n'
    now = 'c{k="grows"} 8\nc{k="same"} 5\nc{k="again"} 2\nc{k="new"} 4\n'
    increases = (
        """m.increases(m.parse(given[0]), m.parse(given[1]), "c").map(({ labels, value }) => [labels.k, value])"""
    )
    assert call(page, "metrics", increases, [before, now]) == [["grows", 3], ["again", 2], ["new", 4]]


def quantile(q: float, buckets: list[tuple[float, float]]) -> float | None:
    """Prometheus' histogram_quantile, https://prometheus.io/docs/prometheus/latest/querying/functions/."""
    total = buckets[-1][1]
    if total == 0:
        return None
    rank = q * total
    at = next(index for index, (_, count) in enumerate(buckets) if count >= rank and count > 0)
    below, under = buckets[at - 1] if at else (0.0, 0.0)
    bound, count = buckets[at]
    if bound == math.inf:
        return below if at else None
    return below + (bound - below) * (rank - under) / (count - under)


def test_quantiles_are_those_of_prometheus(page: Page) -> None:
    chance = random.Random(19)  # noqa: S311 - no secret
    cases = []
    for _ in range(300):
        bounds = sorted(chance.sample(range(1, 1000), chance.randint(1, 14)))
        counts, total = [], 0
        for _ in range(len(bounds) + 1):
            total += chance.choice([0, 0, 1, chance.randint(1, 1000)])
            counts.append(total)
        cases.append((chance.choice([0.0, 0.5, 0.95, 0.99, 1.0, chance.random()]), [*bounds, math.inf], counts))
    sent = [[q, [str(one).replace("inf", "Infinity") for one in bounds], counts] for q, bounds, counts in cases]
    script = """given.map(([q, bounds, counts]) =>
      m.quantile(q, new Map(bounds.map((bound, at) => [Number(bound), counts[at]]).reverse())))"""
    found = call(page, "metrics", script, sent)
    expected = [quantile(q, list(zip(bounds, counts, strict=True))) for q, bounds, counts in cases]
    assert found == [pytest.approx(one) if one is not None else None for one in expected]
    assert sum(one is not None for one in expected) > 200


LOOKING = """(() => {
  const looking = new m.Looking([
    { name: "c", group: ({ g }) => g ?? null, as: ({ k }) => k },
    { name: "h_bucket", group: ({ g }) => g, as: "time", histogram: true },
  ], 60);
  for (const [at, ...texts] of given.told) {
    looking.take(texts.map((text, n) => ({ node: { id: `n${n}` }, metrics: text && given.parse(text) })),
      at * 1000);
  }
  const shown = (groups) => Object.fromEntries([...groups].map(([name, { counts, histograms }]) =>
    [name, [counts, Object.fromEntries([...(histograms.time ?? [])].map(([le, count]) => [String(le), count]))]]));
  const recent = looking.recent(10);
  const all = shown(looking.sinceStart());
  return { points: looking.points.length, seconds: recent.seconds, recent: shown(recent.groups), all };
})()"""


def look(page: Page, *told: tuple[float, *tuple[str | None, ...]]) -> Json:
    script = """async (told) => {
      const m = await import('/assets/lib/executions.js');
      const { parse: read } = await import('/assets/lib/metrics.js');
      const given = { told, parse: (text) => read(text) };
      return %s;
    }"""
    found: Json = page.evaluate(script % LOOKING, [[1_000_000 + at, *texts] for at, *texts in told])
    return found


def test_what_has_come_while_somebody_looks(page: Page) -> None:
    """Of all nodes together; of one that comes later from then on, of one that does not answer once it does again."""
    first = 'c{g="a",k="ok"} 100\nh_bucket{g="a",le="1"} 7\n'
    then = 'c{g="a",k="ok"} 103\nc{g="a",k="bad"} 1\nc{k="of no group"} 9\nh_bucket{g="a",le="1"} 9\n'
    last = 'c{g="a",k="ok"} 110\nc{g="a",k="bad"} 1\nh_bucket{g="a",le="1"} 9\n'
    found = look(page, (0, first), (2, then, 'c{g="b",k="ok"} 50\n'), (4, None, 'c{g="b",k="ok"} 60\n'), (6, last))
    assert found == {
        "points": 3,
        "seconds": 6,
        "recent": {"a": [{"ok": 10, "bad": 1}, {"1": 2}], "b": [{"ok": 10}, {}]},
        "all": {"a": [{"ok": 110, "bad": 1}, {"1": 9}]},
    }


def test_what_is_old_is_forgotten(page: Page) -> None:
    told = [(float(at), f'c{{g="a",k="ok"}} {at}\n') for at in range(0, 200, 2)]
    found = look(page, *told)
    assert (found["points"], found["seconds"], found["recent"]["a"][0]) == (31, 10, {"ok": 10})


def test_the_rows_of_a_schema(page: Page) -> None:
    schema: Json = {
        "type": "object",
        "required": ["quotas"],
        "$defs": {
            "key": {"type": "string", "writeOnly": True, "minLength": 8},
            "tree": {"type": "object", "properties": {"children": {"$ref": "#/$defs/trees"}}},
            "trees": {"type": "array", "items": {"$ref": "#/$defs/tree"}},
        },
        "properties": {
            "quotas": {
                "type": "object", "description": "For each client.", "minProperties": 1,
                "additionalProperties": {
                    "type": "object", "required": ["limit"],
                    "properties": {
                        "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 10, "examples": [5, 50]},
                        "unit": {"enum": ["s", "min", None]},
                    },
                },
            },
            "keys": {"type": "array", "maxItems": 1, "items": {"$ref": "#/$defs/key", "pattern": "^k"}},
            "tree": {"$ref": "#/$defs/tree"},
            "either": {"oneOf": [{"type": "string"}, {"type": "object", "properties": {"from": {"const": "file"}}}]},
        },
    }  # fmt: skip
    rows = call(page, "schema", "m.rowsOf(given)", schema)
    shown = [
        (one["path"], one["type"], one["required"], one["secret"], one["constraints"], one["default"]) for one in rows
    ]
    assert shown == [
        ("quotas", "object", True, False, ["at least 1 member"], ""),
        ("quotas.*", "object", False, False, [], ""),
        ("quotas.*.limit", "integer", True, False, ["at least 1", "at most 100"], "10"),
        ("quotas.*.unit", "string or null", False, False, ['one of "s", "min", null'], ""),
        ("keys", "list of string", False, False, ["at most 1 item"], ""),
        ("keys[]", "string", False, True, ["matches ^k", "at least 8 characters"], ""),
        ("tree", "object", False, False, [], ""),
        ("tree.children", "list of object", False, False, [], ""),
        ("either", "string or object", False, False, [], ""),
        ("either.from", "string", False, False, ['always "file"'], ""),
    ]
    assert (rows[0]["description"], rows[2]["examples"]) == ("For each client.", ["5", "50"])
    nothings: list[Json] = [{}, {"type": "object"}, {"properties": {}}, {"$ref": "#/$defs/none"}, {"$ref": "#"}]
    for nothing in nothings:
        assert call(page, "schema", "m.rowsOf(given)", nothing) == []


TROUBLES = """(await import('/assets/lib/metrics.js').then(({ parse }) => m.troubles(given.apis, given.told.map(
  ({ node, stats, metrics }) => ({ node, stats: JSON.parse(stats), metrics: parse(metrics), problem: "" })))))"""


def test_what_is_wrong_is_told_the_worst_first_with_what_to_do(page: Page) -> None:
    node = {"id": "pretended", "gateway": {"state": "deployed", "reason": ""}}
    found = call(page, "troubles", TROUBLES, {"apis": [], "told": [{"node": node, **unwell()}]})
    assert [one["title"] for one in found] == UNWELL
    assert all(one["meaning"].endswith(".") and one["cure"].endswith(".") and one["to"] for one in found)
    assert [one["kind"] for one in found] == ["bad"] * 12 + ["warn"] * 5 + ["info"]
    assert call(page, "troubles", TROUBLES, {"apis": [], "told": [{"node": node, **well()}]}) == []
    refused = {"id": "pretended", "gateway": {"state": "rejected", "reason": "the port is taken"}}
    apis = [
        {"metadata": {"name": name}, "status": {"state": state, "reason": "why"}}
        for name, state in (("a", "pending"), ("b", "rejected"), ("c", "deployed"))
    ]
    found = call(page, "troubles", TROUBLES, {"apis": apis, "told": [{"node": refused, **well()}]})
    assert [one["title"] for one in found] == [
        "API b is rejected", "The Gateway is rejected on pretended", "API a is pending",
    ]  # fmt: skip
    assert "the port is taken" in found[1]["meaning"]
    assert [one["title"] for one in call(page, "troubles", TROUBLES, {"apis": [], "told": []})] == [
        "No node is connected"
    ]


def test_a_round_number_ends_an_axis(page: Page) -> None:
    values = [[0.0], [0.7], [1.0], [3.2, None, 4.9], [20.0], [51.0], [0.0021]]
    tops = call(page, "chart", "given.map((values) => m.topOf([{ name: '', values }]))", values)
    assert tops == [1, pytest.approx(1), 1, 5, 20, 100, pytest.approx(0.005)]
    assert call(page, "chart", "m.topOf([{ name: '', values: [given] }], true)", 90 << 20) == 128 << 20


def test_a_patch_leaves_alone_what_is_the_same(page: Page) -> None:
    """The focus, what is open, and what was written stay; what differs does not."""
    script = """(async () => {
      const { el } = await import("/assets/lib/dom.js");
      const root = el("div");
      document.body.append(root);
      const content = (text, more) => [
        el("p", { class: text }, text), el("details", null, el("summary", null, "more"), text),
        el("input", { "aria-label": "x" }),
        more ? el("ul", null, more.map((one) => el("li", null, one))) : null,
      ];
      m.patch(root, ...content("one", ["a", "b", "c"]));
      const [paragraph, details, input] = root.children;
      details.open = true;
      input.value = "written";
      input.focus();
      m.patch(root, ...content("two", ["a", "c"]));
      const same = root.children[0] === paragraph && document.activeElement === input && details.isConnected;
      const shown = [paragraph.className, root.textContent, details.open, input.value];
      m.patch(root, ...content("three", null));
      const last = root.textContent;
      m.patch(root, el("h2", null, "other"));
      const other = root.innerHTML;
      root.remove();
      return [same, ...shown, last, other];
    })()"""
    assert call(page, "patch", script) == [
        True, "two", "twomoretwoac", True, "written", "threemorethree", "<h2>other</h2>",
    ]  # fmt: skip
