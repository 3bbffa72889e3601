"""LiteLLM's proxy without database and network: the costs of its own price list, a provider's budget in memory, and its
content filter, which masks addresses and refuses keys, in requests and in answers."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import cpu, environment
from bench.llm.rows import KEY_PATTERN, MODEL
from bench.processes import HOST, await_answer, free_port, running
from bench.target import PYTHON, Target

REQUIREMENTS = "litellm"
MASKED = ("email", "credit_card", "iban", "us_ssn")
ALIVE = "/health/liveliness"
OFFLINE = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False", "LITELLM_LOG": "ERROR"}
COMPILES_ONCE = {"PYTHONDONTWRITEBYTECODE": ""}
"""It takes half a minute to start without its bytecode."""
START_SECONDS = 300.0


@contextlib.contextmanager
def litellm_proxy(provider: str, folder: Path, *, filters: bool) -> Iterator[Target]:
    """One process, as the command starts it by default. provider: HOST:PORT/PATH. filters: with its content filter."""
    port, log, config = free_port(), folder / "litellm.log", folder / "litellm.yaml"
    config.write_text(json.dumps(configuration(provider, filters=filters)))  # JSON is YAML
    binary = environment.python(REQUIREMENTS).with_name("litellm")
    command = [str(binary), "--config", str(config), "--host", HOST, "--port", str(port), "--telemetry", "False"]
    with running([*command, "--num_workers", "1"], log, OFFLINE | COMPILES_ONCE | {"HOME": str(folder)}) as process:
        await_answer(port, ALIVE, process, log, START_SECONDS)
        family = tuple(sorted(cpu.snapshot().descendants(process.pid)))
        yield Target(port, lambda: {PYTHON: family}, log)


def configuration(provider: str, *, filters: bool) -> dict[str, Any]:
    """The proxy's configuration; `provider` is HOST:PORT/PATH."""
    patterns = [{"pattern_type": "prebuilt", "pattern_name": name, "action": "MASK"} for name in MASKED]
    secret = {"pattern_type": "regex", "name": "key", "pattern": KEY_PATTERN, "action": "BLOCK"}
    return {
        "model_list": [
            {
                "model_name": MODEL,
                "litellm_params": {
                    "model": f"openai/{MODEL}",
                    "api_base": f"http://{provider}/v1",
                    "api_key": "bench",
                },
            }
        ],
        "general_settings": {"dangerously_permit_weak_or_unset_master_key": True},  # no row authenticates clients
        "litellm_settings": {"telemetry": False},
        "router_settings": {
            "num_retries": 0,
            "provider_budget_config": {"openai": {"budget_limit": 1_000_000, "time_period": "1d"}},
        },
        "guardrails": [
            {
                "guardrail_name": "content",
                "litellm_params": {
                    "guardrail": "litellm_content_filter",
                    "mode": ["pre_call", "post_call"],
                    "default_on": True,
                    "patterns": [*patterns, secret],
                },
            }
        ]
        if filters
        else [],
    }
