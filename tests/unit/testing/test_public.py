"""The public face of `anyrerank.testing`."""

from __future__ import annotations

import pytest

from anyrerank import testing


def test_all_is_sorted_and_complete() -> None:
    assert testing.__all__ == sorted(testing.__all__)
    assert {"fake_provider", "forbid_network", "StubServer"} <= set(testing.__all__)


@pytest.mark.parametrize("name", [name for name in testing.__all__ if name[0].isupper()])
def test_a_class_shows_its_public_path(name: str) -> None:
    assert getattr(testing, name).__module__ == "anyrerank.testing"
