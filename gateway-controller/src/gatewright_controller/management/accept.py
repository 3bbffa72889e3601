"""Whether an answer is asked for as YAML: `Accept` (RFC 9110, 12.5.1)."""

from __future__ import annotations

import re
from collections.abc import Iterator

YAML = "application/yaml"
YAML_TYPES = (YAML, "application/x-yaml", "text/yaml")
WEIGHT = re.compile(r"\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*", re.IGNORECASE)


def prefers_yaml(accept: str) -> bool:
    """Whether YAML is named, and no less wanted than JSON is. All others get JSON, as clients without a wish do."""
    weights = dict(_weights(accept))
    yaml = max((weights.get(name, 0.0) for name in YAML_TYPES), default=0.0)
    return yaml > 0 and yaml >= weights.get("application/json", 0.0)


def _weights(accept: str) -> Iterator[tuple[str, float]]:
    for part in accept.split(","):
        name, *parameters = part.split(";")
        weights = [found[1] for parameter in parameters if (found := WEIGHT.fullmatch(parameter))]
        yield name.strip().lower(), float(weights[0]) if weights else 1.0
