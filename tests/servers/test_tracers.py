"""What the tracers that users have get of a rerank, from their own packages, and that none of them logs a warning."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import anyrerank
from tests.servers.processes import script

CLIENT = Path(__file__).with_name("tracers_client.py")
BEST = "Mars is the red planet."


@pytest.fixture
def traced(environment: Callable[[str], str]) -> Callable[[str], list[dict[str, Any]]]:
    """The spans of a sync and an async rerank under a tracer, which must not have logged anything."""

    def run(tracer: str) -> list[dict[str, Any]]:
        source = Path(anyrerank.__file__).parents[1]
        found = json.loads(script(environment("tracers"), CLIENT, tracer, str(source), given=""))
        assert found["logged"] == []
        spans: list[dict[str, Any]] = found["spans"]
        return spans

    return run


def test_openinference_in_llama_index_shows_a_reranker(traced: Callable[[str], list[dict[str, Any]]]) -> None:
    spans = traced("openinference in llama_index")
    assert len(spans) == 2
    for span in spans:
        attributes = span["attributes"]
        assert attributes["openinference.span.kind"] == "RERANKER"
        assert attributes["reranker.model_name"] == "local/lexical"
        assert BEST in [attributes[f"reranker.output_documents.{number}.document.content"] for number in (0, 1)]


@pytest.mark.parametrize("tracer", ["openinference in langchain", "langfuse", "langsmith"])
def test_tracer_of_langchain_shows_a_run_with_documents_and_usage(
    tracer: str, traced: Callable[[str], list[dict[str, Any]]]
) -> None:
    spans = [span for span in traced(tracer) if BEST in json.dumps(span) and "total_cost" in json.dumps(span)]
    assert [span["name"] for span in spans] == ["AnyRerank", "AnyRerank"]
    assert all("local/lexical" in json.dumps(span["attributes"]) for span in spans)
