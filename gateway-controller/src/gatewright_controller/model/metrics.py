"""What a node counts and measures of exchanges and executions."""

from __future__ import annotations

from typing import Annotated

from gatewright_controller.model.common import Strict, doc


class Metrics(Strict, frozen=True):
    """The metrics of exchanges and executions at /metrics of the admin listener."""

    enabled: Annotated[bool, doc("false: no metrics of exchanges and executions; those of the node itself stay.")] = (
        True
    )
    max_series: Annotated[
        int,
        doc(
            "Series of one metric, a histogram being one; what comes beyond is counted with the labels api, operation "
            "and policy `other`.",
            ge=100,
            le=1_000_000,
        ),
    ] = 10_000
    operations: Annotated[
        bool, doc("false: the label operation is empty, and the operations of an API are counted together.")
    ] = True
