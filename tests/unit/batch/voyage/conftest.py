"""Runs through a stand-in for Voyage's Batch API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.batch import row, voyage, write_rows
from tests.support.voyage_batches import VoyageStandIn
from tests.unit.batch.voyage.runs import ROWS

from anyrerank.batch import Report, run


@pytest.fixture
def vendor() -> Iterator[VoyageStandIn]:
    with VoyageStandIn() as server:
        yield server


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl", map(row, range(ROWS)))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def go(vendor: VoyageStandIn, rows: Path, out: Path) -> Callable[..., Report]:
    def start(options: dict[str, Any] | None = None, **arguments: Any) -> Report:
        given = {"chunk_rows": 10, "max_wait": 30.0, "via": "batch-api", **arguments}
        return run(rows, out, voyage(vendor.url, **(options or {})), **given)

    return start
