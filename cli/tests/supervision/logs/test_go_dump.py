from __future__ import annotations

import pytest
from gatewright_cli.supervision.logs.go_dump import GoDump

POLICIES = {"fragile_v1_0_0": "fragile:v1.0.0", "other_v2_1_0": "other:v2.1.0"}
PANIC = b"""{"time":"2026-01-01T00:00:00.000Z","level":"info","component":"policy-engine","message":"panic: no"}
panic: runtime error: index out of range [3] with length 0

goroutine 41 gp=0xc000103c00 m=7 mp=0xc000580008 [running]:
gatewright.dev/policy-engine/internal/chain.(*Chain).run(0xc000)
\tgatewright.dev/policy-engine/internal/chain/chain.go:10 +0x1
gatewright.dev/build/policies/fragile_v1_0_0.(*policy).watch(0xc000)
\tgatewright.dev/build/policies/fragile_v1_0_0/policy.go:31 +0x1d
created by gatewright.dev/build/policies/other_v2_1_0.GetPolicy in goroutine 1
\tgatewright.dev/build/policies/other_v2_1_0/policy.go:3 +0x5

goroutine 1 [chan receive]:
gatewright.dev/build/policies/other_v2_1_0.(*policy).OnRequest(0xc000)
"""
OVERFLOW = b"""runtime: goroutine stack exceeds 1000000000-byte limit
fatal error: stack overflow

runtime stack:
runtime.throw({0x1, 0x2})
\truntime/panic.go:1094 +0x4d

goroutine 5 [running]:
gatewright.dev/build/policies/other_v2_1_0.deep(...)
"""
MAPS = b"fatal error: concurrent map writes\n\ngoroutine 9 [running]:\nruntime/maps.fatal\n\ngoroutine 1 [running]:\n"


@pytest.mark.parametrize(
    ("text", "reason", "policy"),
    [
        (PANIC, "panic: runtime error: index out of range [3] with length 0", "fragile:v1.0.0"),
        (OVERFLOW, "fatal error: stack overflow", "other:v2.1.0"),
        (MAPS, "fatal error: concurrent map writes", ""),
        (
            PANIC.replace(b"fragile_v1_0_0", b"unknown"),
            "panic: runtime error: index out of range [3] with length 0",
            "other:v2.1.0",
        ),
        (b"a policy prints\ngoroutine 1 [running]:\n", "", ""),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_dump_names_its_reason_and_the_policy_of_the_goroutine_that_failed(
    text: bytes, reason: str, policy: str, size: int
) -> None:
    dump, lines = GoDump(POLICIES), text.splitlines()
    for at in range(0, len(lines), size):
        dump.read(lines[at : at + size])
    assert (dump.reason, dump.policy) == (reason, policy)
