import importlib
import runpy
import sys

import tiny_rpc


def main() -> None:
    print("served by tiny_rpc", tiny_rpc.VERSION)
    for key, module in runpy.run_path(sys.argv[-1])["PYTHON_POLICIES"].items():
        print(key, importlib.import_module(module).on_request(None, {}))
