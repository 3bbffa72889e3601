import importlib

import tiny_rpc
from python_policy_registry import PYTHON_POLICIES


def main() -> None:
    print("served by tiny_rpc", tiny_rpc.VERSION)
    for key, module in PYTHON_POLICIES.items():
        print(key, importlib.import_module(module).on_request(None, {}))
