"""A gateway whose keys have budgets, in front of a vendor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.gateway import entry
from tests.support.keys import Running, paid, serving

from anyrerank.testing import StubServer


@pytest.fixture
def vendor() -> Iterator[StubServer]:
    with StubServer() as server:
        yield server


@pytest.fixture
def gateway(tmp_path: Path, vendor: StubServer) -> Iterator[Running]:
    models = [paid(vendor.url), paid(vendor.url, "unpriced", "cohere/new"), entry("free")]
    with serving(tmp_path, models) as found:
        yield found
