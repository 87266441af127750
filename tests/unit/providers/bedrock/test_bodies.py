"""Bodies, compared with those of botocore's client."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.harness import DOCUMENTS, QUERY, Mode
from tests.unit.providers.bedrock.signed import ARN, Bodies, data, sent, text

CITY = {"text": "Ottawa", "country": "Canada", "year": 1857, "twins": ["Beijing", None], "seat": True, "area": 2790.3}


@pytest.mark.parametrize(
    ("documents", "options", "sources", "count", "fields"),
    [
        (DOCUMENTS, {}, [text(each) for each in DOCUMENTS], 3, None),
        (DOCUMENTS, {"top_n": 2}, [text(each) for each in DOCUMENTS], 2, None),
        (DOCUMENTS, {"top_n": 50}, [text(each) for each in DOCUMENTS], 3, None),
        ([CITY, "Lisbon"], {}, [data(CITY), text("Lisbon")], 2, None),
        (
            [CITY, "Lisbon"],
            {"rank_fields": ["year", "text"]},
            [data({"year": 1857, "text": "Ottawa"}), text("Lisbon")],
            2,
            None,
        ),
        ([" ", "Lisbon", {"text": ""}], {"top_n": 3}, [text("Lisbon")], 1, None),
        (
            ["Lisbon"],
            {"additional_model_request_fields": {"a": {"b": [1, 2.5, None, "c"]}}},
            [text("Lisbon")],
            1,
            {"a": {"b": [1, 2.5, None, "c"]}},
        ),
        (["Lisbon"], {"additional_model_request_fields": {}}, [text("Lisbon")], 1, None),
    ],
)
def test_body_is_the_one_that_botocore_sends(
    *,
    documents: Any,
    options: dict[str, Any],
    sources: Any,
    count: int,
    fields: Any,
    as_botocore_sends: Bodies,
    mode: Mode,
) -> None:
    body = json.loads(sent(mode, documents, **options).content)
    model = {"modelArn": ARN, **({"additionalModelRequestFields": fields} if fields else {})}
    assert body == {
        "queries": [{"type": "TEXT", "textQuery": {"text": QUERY}}],
        "rerankingConfiguration": {
            "type": "BEDROCK_RERANKING_MODEL",
            "bedrockRerankingConfiguration": {"numberOfResults": count, "modelConfiguration": model},
        },
        "sources": sources,
    }
    assert as_botocore_sends(body) == body
