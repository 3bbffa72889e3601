"""The panels of the dashboard of language models: tokens and cost, as llm-usage and llm-budget count them."""

from __future__ import annotations

from dashboard_panels import NODE, Panel, Row, Variable, rate

MODEL = f'{NODE}, api=~"$api", model=~"$model", team=~"$team"'
MONEY = f'{NODE}, unit="money"'
BILLION = "1e9"
"""Metrics count money in billionths of its unit."""
LLM = "gatewright_policy_llm_"
IN_RANGE = "The sums of the time that is shown. Prometheus extrapolates them, so they are no invoice."


def per_hour(metric: str, by: str) -> str:
    return f"{rate(metric, by, MODEL)} * 3600 / {BILLION}"


def within_range(metric: str, by: str) -> str:
    return f"sum by ({by}) (increase({metric}{{{MODEL}}}[$__range]))"


def sums(title: str, by: str) -> Panel:
    """A table of tokens and cost."""
    columns = {
        "Cost": f"{within_range(f'{LLM}cost_billionths_total', by)} / {BILLION}",
        "Input tokens": within_range(f"{LLM}input_tokens_total", by),
        "Output tokens": within_range(f"{LLM}output_tokens_total", by),
        "Cached tokens": within_range(f"{LLM}cached_tokens_total", by),
        "Without a price": within_range(f"{LLM}unpriced_total", by),
    }
    return Panel(title, IN_RANGE, "short", columns, type="table", width=12)


VARIABLES = (
    Variable("job", "Job", 'label_values(gatewright_build_info{job=~"gatewright.*"}, job)'),
    Variable("instance", "Node", 'label_values(gatewright_build_info{job=~"$job"}, instance)'),
    Variable("api", "API", f"label_values({LLM}requests_total{{{NODE}}}, api)"),
    Variable("model", "Model", f'label_values({LLM}requests_total{{{NODE}, api=~"$api"}}, model)'),
    Variable("team", "Team", f'label_values({LLM}requests_total{{{NODE}, api=~"$api"}}, team)'),
)

COST = Row(
    "Cost, by the prices of llm-usage",
    (
        Panel(
            "Cost by model, in an hour",
            "At the rate of the moment. Answers without a known price cost nothing here: see Without a price.",
            "short",
            {"{{model}}": per_hour(f"{LLM}cost_billionths_total", "model")},
            stacked=True,
            width=12,
        ),
        Panel(
            "Cost by team, in an hour",
            "As by model.",
            "short",
            {"{{team}}": per_hour(f"{LLM}cost_billionths_total", "team")},
            stacked=True,
            width=12,
        ),
        sums("Model and team", "model, team"),
        sums("Client", "client"),
    ),
)

TOKENS = Row(
    "Tokens and answers",
    (
        Panel(
            "Input tokens by model",
            "In a second; cached ones included.",
            "short",
            {"{{model}}": rate(f"{LLM}input_tokens_total", "model", MODEL)},
            stacked=True,
        ),
        Panel(
            "Output tokens by model",
            "In a second; reasoning included.",
            "short",
            {"{{model}}": rate(f"{LLM}output_tokens_total", "model", MODEL)},
            stacked=True,
        ),
        Panel(
            "Answers by outcome",
            "counted: with usage; no_usage: whole, and without; aborted; error; unknown_shape: no request to a model.",
            "reqps",
            {"{{outcome}}": rate(f"{LLM}requests_total", "outcome", MODEL)},
            stacked=True,
        ),
    ),
)

BUDGETS = Row(
    "Budgets of llm-budget",
    (
        Panel(
            "Refused by budget",
            "Requests that did not fit.",
            "reqps",
            {"{{budget}}": rate(f"{LLM}budget_refused_total", "budget", NODE)},
        ),
        Panel(
            "Spent tokens by budget",
            "In a second.",
            "short",
            {"{{budget}}": rate(f"{LLM}budget_spent_total", "budget", f'{NODE}, unit="tokens"')},
        ),
        Panel(
            "Spent money by budget, in an hour",
            "At the rate of the moment.",
            "short",
            {"{{budget}}": f"{rate(f'{LLM}budget_spent_total', 'budget', MONEY)} * 3600 / {BILLION}"},
        ),
    ),
)

ROWS = (COST, TOKENS, BUDGETS)
