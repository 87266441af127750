"""Which names are asked after a name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from anyrerank import ConfigurationError
from anyrerank._core.routing import chains


@pytest.mark.parametrize(
    ("fallbacks", "default", "expected"),
    [
        ((), (), {"a": (), "b": (), "c": ()}),
        ({"a": []}, (), {"a": (), "b": (), "c": ()}),
        ([{"a": []}], (), {"a": (), "b": (), "c": ()}),
        ({"a": ["b", "c"]}, (), {"a": ("b", "c"), "b": (), "c": ()}),
        ([{"a": ["b"]}, {"b": ["c"]}], (), {"a": ("b", "c"), "b": ("c",), "c": ()}),
        ({"a": ["b", "c"], "b": ["c"]}, (), {"a": ("b", "c"), "b": ("c",), "c": ()}),
        ({"a": ["b"]}, ["c"], {"a": ("b",), "b": ("c",), "c": ()}),
        ({}, ["c", "a"], {"a": ("c",), "b": ("c", "a"), "c": ("a",)}),
        ({"*": ["c", "a"]}, (), {"a": ("c",), "b": ("c", "a"), "c": ("a",)}),
        ({"a": ["z"], "z": ["b"]}, (), {"a": ("c", "b"), "b": (), "c": ("b",)}),
    ],
    ids=str,
)
def test_a_chain_is_the_fallbacks_of_a_name_and_theirs(
    fallbacks: Any, default: Any, expected: Mapping[str, Any]
) -> None:
    assert chains("abc", fallbacks, default, 5, {"z": "c"}) == expected
    shortened = {name: chain[:1] for name, chain in expected.items()}
    assert chains("abc", fallbacks, default, 1, {"z": "c"}) == shortened


def test_a_chain_is_found_quickly_although_many_paths_lead_to_a_name() -> None:
    """There are 2 ** 98 paths from the first name to the last one."""
    names = [f"m{number}" for number in range(100)]
    fallbacks = {name: names[index + 1 :] for index, name in enumerate(names)}
    assert chains(names, fallbacks, (), 1000, {})["m0"] == tuple(names[1:])


LIST = "fallbacks must be a list of mappings from a name to a list of names"


@pytest.mark.parametrize(
    ("fallbacks", "message"),
    [
        ({"a": ["a"]}, "circle: a -> a"),
        ([{"a": ["b"]}, {"b": ["c"]}, {"c": ["a"]}], "circle: a -> b -> c -> a"),
        ({"a": ["z"]}, "no model named 'z'; there are a, b, c"),
        ({"z": ["a"]}, "no model named 'z'; there are a, b, c"),
        ({"a": "b"}, LIST),
        ([("a", "b")], LIST),
        (["a"], LIST),
        ("a", LIST),
        (5, LIST),
        ({"a": [{"model": "b", "api_key": "secret"}]}, LIST),
    ],
    ids=str,
)
def test_wrong_fallbacks_are_refused(fallbacks: Any, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        chains("abc", fallbacks, (), 5, {})
    assert caught.value.message.startswith("fallbacks")
    assert message in caught.value.message


@pytest.mark.parametrize("default", [["z"], "r", [5]], ids=str)
def test_wrong_default_fallbacks_are_refused(default: Any) -> None:
    with pytest.raises(ConfigurationError, match="default_fallbacks"):
        chains("r", (), default, 5, {})
