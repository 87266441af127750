"""Cutting documents to a number of tokens."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyrerank._core.engine.truncation import truncated


@pytest.mark.parametrize(
    ("document", "rank_fields", "expected"),
    [
        ("sixsix", None, "sixsix"),
        ("seven77", None, "seven7"),
        ("      seven77", None, "seven7"),
        (" seven77", None, " seven"),
        ("\u00e9" * 4, None, "\u00e9" * 3),
        ("abcde\u20ac", None, "abcde"),
        ({"text": "seven77", "page": 3}, None, {"text": "seven7", "page": 3}),
        ({"image": "data:x"}, None, {"image": "data:x"}),
        ({"a": "1234", "b": 56789, "c": "x", "text": "untouched"}, ("a", "b", "c", "d"), None),
    ],
)
def test_text_keeps_the_first_three_bytes_for_each_token(document: Any, rank_fields: Any, expected: Any) -> None:
    if rank_fields:
        expected = {"a": "1234", "b": "56", "c": "", "text": "untouched"}
    assert truncated([document], rank_fields, 2) == [expected]


def test_document_that_is_short_enough_is_not_copied() -> None:
    document = {"text": "short"}
    assert truncated([document], None, 2)[0] is document


@given(st.text(st.characters(exclude_categories=[]), min_size=1), st.integers(1, 9))
def test_cut_text_is_a_beginning_that_is_not_blank(text: str, tokens: int) -> None:
    (found,) = truncated([text], None, tokens)
    assert isinstance(found, str)
    assert text.startswith(found) or text.lstrip().startswith(found)
    assert found.strip() or not text.strip()
    assert len(found) == 1 or len(found.encode("utf-8", "surrogatepass")) <= tokens * 3 or found == text
