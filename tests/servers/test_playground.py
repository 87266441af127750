"""The playground of the gateway in a real browser, where there is one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anyrerank.testing import StubServer
from tests.servers.processes import script
from tests.support.gateway import MASTER_KEY, entry, gateway_of, running

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")


@pytest.fixture(scope="module")
def shown(environment: Callable[[str], str]) -> dict[str, Any]:
    """What the page shows to someone who enters the key, selects as many models as possible, and runs them."""
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("needs chromium and chromedriver")
    with StubServer() as vendor:
        models = [
            entry("lexical"),
            entry("cohere", "cohere/rerank-v3.5", api_key="k", api_base=vendor.url),
            entry("down", "cohere/rerank-v3.5", api_key="k", api_base="http://127.0.0.1:1"),
            entry("<b>bold</b>"),
            entry("fifth"),
        ]
        with running(gateway_of(models, num_retries=0)) as url:
            program = Path(__file__).with_name("browser_client.py")
            printed = script(environment("browser"), program, url, MASTER_KEY, CHROMIUM, DRIVER, given="")
            found: dict[str, Any] = json.loads(printed)
            return {**found, "url": url}


def test_models_of_the_key_are_offered_as_text(shown: dict[str, Any]) -> None:
    assert shown["models"] == ["lexical", "cohere", "down", "<b>bold</b>", "fifth"]


def test_at_most_four_models_are_shown_side_by_side(shown: dict[str, Any]) -> None:
    assert [card.splitlines()[0] for card in shown["cards"]] == ["lexical", "cohere", "down", "<b>bold</b>"]


def test_card_shows_rank_changes_scores_time_and_cost(shown: dict[str, Any]) -> None:
    _, facts, first, text, score, *_ = shown["cards"][1].splitlines()
    assert facts.endswith(" ms · $0.002000 · scores: unit")
    assert first == "▲2"
    assert text.startswith("Mars is called the red planet")
    assert 0 < float(score) <= 1


def test_card_of_a_model_that_fails_says_why(shown: dict[str, Any]) -> None:
    assert shown["cards"][2].splitlines()[-1] == "502: cohere/rerank-v3.5 cannot be reached"


def test_page_stores_nothing_and_asks_nobody_else(shown: dict[str, Any]) -> None:
    assert shown["stored"] == [0, 0]
    assert all(each.startswith(shown["url"]) for each in shown["requested"])
