"""Fixtures of the tests of the HTTP layer."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_network() -> None:
    """Some tests here ask hosts that do not exist, or that are behind a proxy of the test."""
