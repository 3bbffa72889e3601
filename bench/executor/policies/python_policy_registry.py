"""The registry that a build would generate, by hand: the policies of this folder."""

PYTHON_POLICIES: dict[str, str] = {
    "blocking:v1.0.0": "bench.executor.policies.blocking",
    "computing:v1.0.0": "bench.executor.policies.computing",
    "headers:v1.0.0": "bench.executor.policies.headers",
    "passing:v1.0.0": "bench.executor.policies.passing",
}
