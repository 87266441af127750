"""The providers as data."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from anyrerank import Reranker, providers
from anyrerank.catalog import COLUMNS, Card, Model, card, cards, row
from anyrerank.providers import load, names


def test_cards_cover_every_provider() -> None:
    assert [each.prefix for each in cards()] == list(names())


@pytest.mark.parametrize("name", names())
def test_card_has_a_first_command_with_a_model_that_makes_a_reranker(name: str) -> None:
    found = card(load(name))
    assert found.first_command.endswith(" --call")
    for model in found.models:
        assert Reranker(model.name).provider == name
        assert model.price
    if not found.needs_key and found.default_base is None and not found.base_variables:
        assert found.first_command.startswith("anyrerank check ")


def test_card_repeats_what_the_class_declares() -> None:
    voyage = card(load("voyage"))
    assert voyage == Card(
        prefix="voyage",
        title="Voyage AI",
        description=voyage.description,
        needs_key=True,
        key_variables=("VOYAGE_API_KEY", "VOYAGE_AI_API_KEY", "VOYAGE_AI_TOKEN", "VOYAGE_API_KEY_PATH"),
        key_page="https://dashboard.voyageai.com/organization/api-keys",
        base_variables=("VOYAGE_API_BASE",),
        default_base="https://api.voyageai.com/v1",
        settings={},
        options=("truncate",),
        documents_per_request=1000,
        score_scale="unit",
        supports_images=False,
        extra=None,
        models=voyage.models,
        first_command="VOYAGE_API_KEY=... anyrerank check voyage/rerank-1 --call",
    )
    assert Model("voyage/rerank-2.5", "$0.05 per 1,000,000 tokens", "2026-11-22") in voyage.models
    assert "MongoDB Atlas" in voyage.description


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("infinity", ("infinity", "INFINITY_API_KEY\n(optional)", "raw_scores", "2,048", "0 to 1", "")),
        ("nvidia_nim", ("nvidia_nim", "NVIDIA_NIM_API_KEY\nNVIDIA_API_KEY", "truncate", "1,000", "logits", "")),
        ("local", ("local", "none", "", "no known limit", "0 to 1", "")),
    ],
)
def test_row_has_a_cell_for_each_column(name: str, expected: tuple[str, ...]) -> None:
    assert row(card(load(name))) == expected
    assert len(expected) == len(COLUMNS)


def test_row_names_the_extra_and_the_variables_of_secret_settings() -> None:
    assert row(card(load("bedrock")))[-1] == "bedrock"
    assert row(card(load("vertex_ai")))[1] == "VERTEXAI_CREDENTIALS\nGOOGLE_APPLICATION_CREDENTIALS"


def test_cards_with_a_broken_entry_point_skip_it_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("acme", "no_such_module:Acme", providers.ENTRY_POINTS)
    monkeypatch.setattr(providers, "entry_points", lambda **wanted: [point])
    with pytest.warns(UserWarning, match="acme"):
        found = cards()
    assert "cohere" in [each.prefix for each in found]
    assert "acme" not in [each.prefix for each in found]
