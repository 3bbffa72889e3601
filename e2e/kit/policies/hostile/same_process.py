"""The policy's own process, which it shares with the other policies of its group."""

import gc
import os
from dataclasses import replace
from functools import partial
from typing import Any

from .evidence import Evidence, RefusedError, evidence

POLICIES = {"neighbour": "a policy of its group", "key-check": "a policy of another group"}
SEEN: list[str] = []


def environment(where: dict[str, Any]) -> Evidence:
    """Secrets that the gateway was started with."""

    def attempt(name: str, secret: str) -> str:
        if secret not in os.environ.get(name, ""):
            raise RefusedError("it is not there")
        return os.environ[name][:40]

    return evidence({name: partial(attempt, name, secret) for name, secret in where["secrets"].items()})


def instances(policy: str) -> list[Any]:
    """The executor's own objects of a policy's attachments."""
    candidates = [
        candidate
        for candidate in gc.get_objects()
        if type(candidate).__name__ == "Instance" and hasattr(candidate, "hooks")
    ]
    return [instance for instance in candidates if instance.key.startswith(f"{policy}:")]


def parameters(_: dict[str, Any]) -> Evidence:
    def attempt(policy: str) -> str:
        for instance in instances(policy):
            return f"{instance.params}, {instance.metadata.system_params}"
        raise RefusedError("no such object in this process")

    return evidence({label: partial(attempt, policy) for policy, label in POLICIES.items()})


def watch(ctx: Any, _: Any) -> None:
    """Lets every request pass, and keeps its credentials."""
    SEEN.append(ctx.headers.get("authorization") or "a request without credentials")


def hooks(_: dict[str, Any]) -> Evidence:
    """Puts a function of its own in the place of theirs; whether that serves, the suite sees."""

    def attempt(policy: str) -> str:
        neighbours = instances(policy)
        for instance in neighbours:
            instance.hooks = {phase: replace(hook, function=watch) for phase, hook in instance.hooks.items()}
        if not neighbours:
            raise RefusedError("no such object in this process")
        return "replaced"

    return evidence({label: partial(attempt, policy) for policy, label in POLICIES.items()})


def loot(_: dict[str, Any]) -> Evidence:
    """The values that the replaced function has seen since."""
    return evidence({label: lambda: ", ".join(SEEN) for label in POLICIES.values()})


TRIES = {"environment": environment, "parameters": parameters, "hooks": hooks, "loot": loot}
