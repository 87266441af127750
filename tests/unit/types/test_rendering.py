import os
import shutil
from typing import Any

import pytest

from anyrerank._core.types import Document, Ranking, RerankResponse

FULL, HALF = "█" * 16, "█" * 8


def html_of(response: RerankResponse) -> str:
    return response._repr_html_()


def response(scores: list[float | None], documents: list[Document] | None = None, **given: Any) -> RerankResponse:
    shown: list[Document] = [*(documents or [f"document {place}" for place in range(len(scores))])]
    return RerankResponse(
        **{
            "id": "rerank-1",
            "results": Ranking(range(len(scores)), scores, shown),
            "model": "m",
            "provider": "cohere",
            "latency": 0.0874,
            **given,
        }
    )


def bars(shown: str) -> list[int]:
    return [line.count("█") for line in shown.splitlines()[2:]]


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    size = os.terminal_size((100, 24))
    monkeypatch.setattr(shutil, "get_terminal_size", lambda fallback=None: size)


def test_text_table_is_aligned() -> None:
    shown = str(response([1.0, 0.5, 0.0], ["first", {"text": "second", "page": 3}, "third"]))
    assert shown.splitlines() == [
        "cohere/m · 3 results · 87 ms",
        f"rank      score  {'':16}  input  document",
        f"   1     1.0000  {FULL}      0  first",
        f"   2     0.5000  {HALF}              1  second",
        f"   3     0.0000  {'':16}      2  third",
    ]


def test_html_table_has_the_same_cells() -> None:
    shown = html_of(response([1.0, 0.5], ["first", "second"]))
    assert shown.count("<tr>") == 3
    for part in (
        "cohere/m · 2 results · 87 ms",
        ">1.0000<",
        ">0.5000<",
        "width:100%",
        "width:50%",
        ">first<",
        ">second<",
    ):
        assert part in shown


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"cost": 0.002}, "$0.002000"),
        ({"cost": 0.0}, "$0.000000"),
        ({"degraded": True}, "DEGRADED"),
        ({"latency": 12.5}, "12500 ms"),
    ],
)
def test_headline_has_the_known_facts(given: dict[str, Any], part: str) -> None:
    assert part in str(response([0.5], **given)).splitlines()[0]
    assert part in html_of(response([0.5], **given))
    assert "$" not in str(response([0.5]))


@pytest.mark.parametrize(
    ("scores", "lengths"),
    [
        ([0.9, 0.3], [14, 5]),
        ([12.0, 2.0, -8.0], [16, 8, 0]),
        ([0.033, 0.0325, 0.032], [16, 8, 0]),
        ([0.5, None], [8, 0]),
        ([None, None], [0, 0]),
        ([1.0], [16]),
        ([0.0], [0]),
    ],
    ids=["calibrated", "logits", "fused", "blank", "degraded", "best", "worst"],
)
def test_bar_is_the_score_or_its_position_between_lowest_and_highest(
    scores: list[float | None], lengths: list[int]
) -> None:
    assert bars(str(response(scores))) == lengths
    for length in lengths:
        assert 0 <= length <= 16


@pytest.mark.parametrize("scores", [[1.7e308, -1.7e308], [5e-324, 0.0], [-7.0, -7.0]])
def test_table_can_show_any_finite_scores(scores: list[float | None]) -> None:
    assert len(str(response(scores)).splitlines()) == 4
    assert html_of(response(scores)).count("<tr>") == 3


def test_missing_score_is_shown_as_none() -> None:
    assert "none" in str(response([None], [""])).splitlines()[2]
    assert ">none<" in html_of(response([None], [""]))


HOSTILE = "<script>alert('x')</script> & \"more\""


@pytest.mark.parametrize(
    "given", [{"documents": [HOSTILE]}, {"documents": [{"text": HOSTILE}]}, {"model": HOSTILE}, {"provider": HOSTILE}]
)
def test_html_table_escapes_every_text(given: dict[str, Any]) -> None:
    shown = html_of(response([0.5], **given))
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert "&amp;" in shown


def test_document_is_cut_to_one_line() -> None:
    shown = str(response([0.5, 0.4], ["word\n\n  word\t" * 100, "short"])).splitlines()
    assert len(shown) == 4
    assert len(shown[2]) <= 100
    assert shown[2].endswith("…")
    assert shown[3].endswith("short")


@pytest.mark.parametrize("columns", [1, 40, 80, 300])
def test_text_table_fits_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "get_terminal_size", lambda fallback=None: os.terminal_size((columns, 24)))
    assert len(str(response([0.5], ["x" * 1000])).splitlines()[2]) <= max(columns, 66)


@pytest.mark.parametrize(
    ("document", "shown"),
    [({"title": "a title"}, "a title"), ({"text": "", "title": "a title"}, ""), ({}, ""), ({"page": 3}, "3"), ("", "")],
)
def test_mapping_is_shown_by_its_text_or_first_value(document: Document, shown: str) -> None:
    row = f"   1     0.5000  {HALF:16}      0  {shown}".rstrip()
    assert str(response([0.5], [document])).splitlines()[2] == row
    assert f">{shown}<" in html_of(response([0.5], [document]))


def test_long_table_ends_with_a_count() -> None:
    shown = str(response([1 - place / 100 for place in range(60)]))
    assert len(shown.splitlines()) == 53
    assert shown.endswith("... and 10 more")
    assert "and 10 more" in html_of(response([0.5] * 60))
    assert "more" not in str(response([0.5] * 50))


def test_empty_response_is_shown_as_a_header() -> None:
    empty = response([])
    assert str(empty).splitlines()[0] == "cohere/m · 0 results · 87 ms"
    assert len(str(empty).splitlines()) == 2
    assert html_of(empty).count("<tr>") == 1


def test_results_without_documents_can_be_shown() -> None:
    bare = response([0.5], results=Ranking([7], [0.5]))
    assert str(bare).splitlines()[2].endswith("7")
    assert ">7<" in html_of(bare)


def test_half_characters_are_shown_as_replacement_characters() -> None:
    found = response([1.0], [{"text": "let \ud835 be"}])
    for shown in (str(found), html_of(found)):
        assert "let \ufffd be" in shown
        shown.encode()
    assert found.results[0].document == {"text": "let \ud835 be"}
