"""Controllers, their database and nodes that go away and come back, under traffic and writes (`make outages`)."""

import sys

from e2e.kit.places import ROOT

sys.path.append(str(ROOT / "tools"))  # which has the PostgreSQL of tests; pytest has it there too
