"""Two processes that share a limit are refused next to never, and lose no row."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.batch import expected, ids
from tests.support.quota import ROWS, Vendor, rerank_in_two_processes


@pytest.mark.slow
def test_two_processes_keep_to_a_quota(redis_url: str, tmp_path: Path) -> None:
    vendor = Vendor()
    one, two = rerank_in_two_processes(vendor, redis_url, tmp_path)
    assert vendor.refused <= ROWS * 0.001
    assert sorted([*ids(one), *ids(two)]) == expected(ROWS)
