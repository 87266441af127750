"""Fixtures of the ledger's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """Where the SQLite file of a ledger is to be."""
    return tmp_path / "spend.db"


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Returns what was logged so far."""
    return lambda: [record.getMessage() for record in caplog.records if record.name == "anyrerank"]
