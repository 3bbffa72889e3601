from __future__ import annotations

from gatewright_cli.supervision.progress import Progress, Snapshot

REFUSED = Snapshot("refused", 0, 0.0)


def test_time_without_change_adds_up() -> None:
    progress = Progress(now=100.0)
    assert progress.stalled_for(REFUSED, 101.0) == 0.0
    assert progress.stalled_for(REFUSED, 141.0) == 40.0


def test_each_sign_counts() -> None:
    for changed in (Snapshot("503", 0, 0.0), Snapshot("refused", 1, 0.0), Snapshot("refused", 0, 0.25)):
        progress = Progress(now=0.0)
        progress.stalled_for(REFUSED, 1.0)
        assert progress.stalled_for(changed, 50.0) == 0.0


def test_the_cpu_of_answering_probes_is_no_progress() -> None:
    progress = Progress(now=0.0)
    progress.stalled_for(REFUSED, 0.0)
    assert progress.stalled_for(Snapshot("refused", 0, 0.1), 60.0) == 60.0
