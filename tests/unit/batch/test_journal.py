"""The journal of a chunk."""

from __future__ import annotations

from pathlib import Path

import pytest

from anyrerank.batch.journal import Journal, outcomes_in
from anyrerank.batch.outcomes import Outcome


def test_row_that_cannot_be_written_is_not_done(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.add(0, Outcome())
    journal.close()  # so that the next write fails, as on a full disk
    with pytest.raises(OSError, match="descriptor"):
        journal.add(1, Outcome())
    assert (list(journal.done), journal.tally.rows) == ([0], 1)
    assert list(outcomes_in(journal.path)) == [0]
