"""The server that the store's tests ask: Valkey or Redis, found on the machine, else installed by apt.

python tools/valkey.py           prints where it is; installs it where that is possible
python tools/valkey.py --find    installs nothing
VALKEY_REQUIRED=1                it is a failure that there is none; else the tests that need one are skipped
"""

from __future__ import annotations

import sys

from machine_program import MachineProgram

VALKEY = MachineProgram(
    name="Valkey",
    names=("valkey-server", "redis-server"),
    variable="VALKEY_SERVER",
    required="VALKEY_REQUIRED",
    version="v=",
    packages=("redis-server",),  # speaks TLS, as the tests ask of any, on Debian and Ubuntu; Valkey has its protocol
    cure="expected valkey-server or redis-server on PATH, or Debian or Ubuntu with root or sudo to install one: "
    "install it (apt install redis-server)",
)

if __name__ == "__main__":
    sys.exit(VALKEY.main(sys.argv[1:]))
