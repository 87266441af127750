"""The providers as data, and as the command line shows them."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint

import pytest
from typer.testing import CliRunner

from anyrerank import providers
from anyrerank.catalog import Card, card, cards, cells, markdown
from anyrerank.cli.commands import app
from anyrerank.providers import load, names

WIDE = {"COLUMNS": "2000"}


def shown(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["providers", *arguments], env=WIDE)
    assert result.exit_code == 0, result.output
    return result.output


def test_there_is_a_card_for_every_provider() -> None:
    assert [each.prefix for each in cards()] == list(names())


def test_a_card_says_what_the_class_says() -> None:
    voyage = card(load("voyage"))
    assert voyage == Card(
        prefix="voyage",
        title="Voyage AI",
        about=voyage.about,
        needs_key=True,
        key_variables=("VOYAGE_API_KEY", "VOYAGE_AI_API_KEY", "VOYAGE_AI_TOKEN", "VOYAGE_API_KEY_PATH"),
        base_variables=("VOYAGE_API_BASE",),
        default_base="https://api.voyageai.com/v1",
        settings={},
        options=("truncate",),
        documents_per_request=1000,
        scale="unit",
        images=False,
        extra=None,
    )
    assert "MongoDB Atlas" in voyage.about


def test_the_cells_of_a_card() -> None:
    assert cells(card(load("infinity"))) == (
        "infinity",
        "INFINITY_API_KEY\n(optional)",
        "raw_scores",
        "2,048",
        "0 to 1",
        "",
    )
    assert cells(card(load("nvidia_nim")))[1:] == (
        "NVIDIA_NIM_API_KEY\nNVIDIA_API_KEY",
        "truncate",
        "1,000",
        "logits",
        "",
    )
    assert cells(card(load("local")))[1:] == ("none", "", "any number", "0 to 1", "")
    assert cells(card(load("bedrock")))[-1] == "bedrock"
    assert cells(card(load("vertex_ai")))[1] == "VERTEXAI_CREDENTIALS\nGOOGLE_APPLICATION_CREDENTIALS"


@pytest.mark.parametrize("width", [140, 2000])
def test_the_table_shows_every_provider_with_unbroken_names(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WIDE, "COLUMNS", str(width))
    words = set(shown().split())
    for name in names():
        assert {name, *load(name).key_variables, *load(name).options} <= words
    assert {"2,048", "any", "logits", "sentence-transformers"} <= words


def test_an_entry_point_that_leads_nowhere_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("acme", "no_such_module:Acme", providers.ENTRY_POINTS)
    monkeypatch.setattr(providers, "entry_points", lambda **wanted: [point])
    with pytest.warns(UserWarning, match="the provider 'acme' of no_such_module:Acme cannot be used"):
        found = cards()
    assert "cohere" in [each.prefix for each in found]
    assert "acme" not in [each.prefix for each in found]


def test_one_provider_is_shown_whole() -> None:
    found = shown("bedrock")
    kind = load("bedrock")
    for expected in (*kind.key_variables, *kind.base_variables, *kind.options, "botocore's chain is asked"):
        assert expected in found
    assert "region (AWS_REGION_NAME, AWS_REGION, AWS_DEFAULT_REGION)" in found


def test_json() -> None:
    found = json.loads(shown("--json"))
    assert [each["prefix"] for each in found] == list(names())
    (bedrock,) = [each for each in found if each["prefix"] == "bedrock"]
    assert bedrock["settings"]["aws_session_token"] == {
        "about": "session token",
        "variables": ["AWS_SESSION_TOKEN"],
        "secret": True,
        "sent": True,
    }


def test_markdown() -> None:
    assert shown("--markdown") == markdown(cards())
    assert shown("cohere", "--markdown").splitlines()[2] == (
        "| `cohere/...` | Cohere | `COHERE_API_KEY`, `CO_API_KEY` | `max_chunks_per_doc`, `max_tokens_per_doc`, "
        "`priority` | 1,000 | 0 to 1 |  |"
    )


def test_a_name_that_is_none() -> None:
    result = CliRunner().invoke(app, ["providers", "voyag"])
    assert result.exit_code == 1
    assert result.output == "error: unknown provider 'voyag': did you mean voyage?\n"
