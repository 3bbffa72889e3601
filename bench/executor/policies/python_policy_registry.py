"""The registry of this folder's policies, written by hand as a build would generate it."""

PYTHON_POLICIES: dict[str, str] = {
    "blocking:v1.0.0": "bench.executor.policies.blocking",
    "computing:v1.0.0": "bench.executor.policies.computing",
    "headers:v1.0.0": "bench.executor.policies.headers",
    "passing:v1.0.0": "bench.executor.policies.passing",
}
