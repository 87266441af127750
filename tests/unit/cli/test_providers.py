"""`anyrerank providers`."""

from __future__ import annotations

import json

import pytest
from tests.unit.cli.running import error_of, run

from anyrerank.catalog import card, cards, markdown
from anyrerank.providers import load, names


def providers(*arguments: str, columns: int = 2000) -> str:
    result = run("providers", *arguments, columns=columns)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("columns", [140, 2000])
def test_providers_lists_every_provider_with_unbroken_names(columns: int) -> None:
    words = set(providers(columns=columns).split())
    for name in names():
        assert {name, *load(name).key_variables, *load(name).options} <= words
    assert {"2,048", "logits", "sentence-transformers"} <= words


def test_providers_with_a_prefix_shows_everything_about_it() -> None:
    shown = providers("bedrock")
    bedrock = load("bedrock")
    for expected in (*bedrock.key_variables, *bedrock.base_variables, *bedrock.options):
        assert expected in shown
    assert "https://docs.aws.amazon.com/bedrock/latest/userguide/api-keys.html" in shown
    assert card(bedrock).description.splitlines()[0] in shown
    assert "region (AWS_REGION_NAME, AWS_REGION, AWS_DEFAULT_REGION)" in shown


def test_providers_with_json_prints_the_cards() -> None:
    found = json.loads(providers("--json"))
    assert [each["prefix"] for each in found] == list(names())
    (bedrock,) = [each for each in found if each["prefix"] == "bedrock"]
    token = bedrock["settings"]["aws_session_token"]
    assert (token["variables"], token["secret"]) == (["AWS_SESSION_TOKEN"], True)


def test_providers_with_markdown_prints_the_table() -> None:
    assert providers("--markdown") == markdown(cards())
    assert providers("cohere", "--markdown").splitlines()[2] == (
        "| [`cohere/...`](#cohere) | Cohere | `COHERE_API_KEY`, `CO_API_KEY` | `max_chunks_per_doc`, "
        "`max_tokens_per_doc`, `priority`, `relevant_spans` | 1,000 | 0 to 1 |  |"
    )


def test_providers_with_an_unknown_name_suggests_one() -> None:
    assert "voyage" in error_of(run("providers", "voyag"))
