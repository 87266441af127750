"""Custom providers as `ADDING.md` describes them: a class that is passed, and a package with an entry point."""

from __future__ import annotations

import copy
import importlib
import json
import pickle
import re
import subprocess
import sys
import traceback
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from tests.support.frameworks import FACES, Face
from tests.support.harness import DOCUMENTS, KEY, QUERY, Mode, Replay, answering

import anyrerank
from anyrerank import APIResponseValidationError, ConfigurationError, Reranker, RerankResponse, providers
from anyrerank.providers import Answer, Provider, RerankRequest, in_order

PAGE = Path(providers.__file__).with_name("ADDING.md").read_text(encoding="utf-8")
CLASS, PASSED, OWN_FORMAT, OWN_TEST = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
(PROJECT,) = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)
ANSWER = {"data": [{"index": 1, "score": 0.9}, {"index": 0, "score": 0.2}, {"index": 2, "score": 0.1}]}


pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the package of the page is installed."""
    source, site = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    (source / "acme_rerank.py").write_text(CLASS, encoding="utf-8")
    (source / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    offline = ["--quiet", "--no-build-isolation", "--no-deps", "--no-index", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *offline, "--target", str(site), str(source)]
    subprocess.run(command, check=True)  # noqa: S603
    return site


@pytest.fixture
def acme(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Provider]]:
    """The provider of the page, importable while the test runs."""
    monkeypatch.syspath_prepend(str(installed))
    importlib.invalidate_caches()
    yield importlib.import_module("acme_rerank").Acme
    providers.load.cache_clear()
    sys.modules.pop("acme_rerank", None)


def check_sent(request: httpx.Request) -> None:
    assert str(request.url) == "https://api.acme.example/v1/rerank"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert json.loads(request.content) == {"model": "ranker-1", "query": QUERY, "documents": DOCUMENTS}


def test_passed_class_is_called(acme: type[Provider], mode: Mode) -> None:
    replay = answering(ANSWER)
    client = replay.client(mode)
    response = mode.function(
        model="acme/ranker-1",
        query=QUERY,
        documents=DOCUMENTS,
        custom_llm_provider=acme,
        api_key=KEY,
        http_client=client,
        score_mode="unit",
    )
    assert [(each.index, each.relevance_score) for each in response.results] == [(1, 0.9), (0, 0.2), (2, 0.1)]
    assert (response.provider, response.model) == ("acme", "ranker-1")
    check_sent(replay.seen[0])


def test_reranker_of_the_page_can_be_made(acme: type[Provider]) -> None:
    made: dict[str, Any] = {}
    exec(compile(PASSED, "ADDING.md", "exec"), made)  # noqa: S102
    assert repr(made["reranker"]) == "Reranker('acme/ranker-1')"


def test_entry_point_is_found_by_its_prefix(acme: type[Provider], mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_API_KEY", KEY)
    replay = answering(ANSWER)
    response = mode.function(model="acme/ranker-1", query=QUERY, documents=DOCUMENTS, http_client=replay.client(mode))
    assert response.results[0].index == 1
    check_sent(replay.seen[0])
    assert "acme" in providers.names()
    assert providers.load("acme") is acme


@pytest.mark.parametrize("face", FACES, ids=str)
def test_entry_point_is_found_by_both_frameworks(acme: type[Provider], face: Face) -> None:
    replay = answering(ANSWER)
    transport = httpx.MockTransport(replay)
    client = httpx.AsyncClient(transport=transport) if face.asynchronous else httpx.Client(transport=transport)
    adapter = face.make(model="acme/ranker-1", http_client=client)
    assert [score for _, score in face.ranked(adapter, DOCUMENTS)] == [0.9, 0.2, 0.1]
    check_sent(replay.seen[0])


def test_entry_point_is_listed_by_the_command_line(installed: Path) -> None:
    path = f"import sys; sys.path.insert(0, {str(installed)!r}); from anyrerank.__main__ import main; "
    run = [sys.executable, "-c", path + "sys.argv = ['anyrerank', 'providers', 'acme', '--json']; main()"]
    found = json.loads(subprocess.run(run, check=True, capture_output=True, text=True).stdout)  # noqa: S603
    assert [(each["prefix"], each["key_variables"], each["documents_per_request"]) for each in found] == [
        ("acme", ["ACME_API_KEY"], 500)
    ]


def test_fallback_may_use_the_passed_class(acme: type[Provider], mode: Mode) -> None:
    replay = Replay([{"response": {"status": 500, "json": {}}}, {"response": {"status": 200, "json": ANSWER}}])
    reranker = mode.reranker(
        "acme/ranker-1", custom_llm_provider=acme, fallbacks=["acme/ranker-2"], http_client=replay.client(mode)
    )
    assert mode.rerank(reranker, QUERY, DOCUMENTS).model == "ranker-2"
    assert [json.loads(request.content)["model"] for request in replay.seen] == ["ranker-1", "ranker-2"]


def test_copies_keep_the_passed_class(acme: type[Provider]) -> None:
    reranker = Reranker("acme/ranker-1", custom_llm_provider=acme, api_key=KEY)
    for again in (pickle.loads(pickle.dumps(reranker)), copy.deepcopy(reranker)):  # noqa: S301
        again.check()
        assert repr(again) == repr(reranker)


@pytest.fixture
def own_format() -> ModuleType:
    """The provider of the page whose server has another format, and its test."""
    module = ModuleType("own_format")
    for text in (OWN_FORMAT, OWN_TEST):
        exec(compile(text, "ADDING.md", "exec"), vars(module))  # noqa: S102
    return module


def ask(mode: Mode, provider: type[Provider], replay: Replay, top_n: int) -> RerankResponse:
    """Rerank with a passed class, at a server that is replayed."""
    return mode.function(
        model="acme/x",
        query=QUERY,
        documents=DOCUMENTS,
        top_n=top_n,
        custom_llm_provider=provider,
        api_key=KEY,
        http_client=replay.client(mode),
    )


def test_class_with_its_own_format_is_called(mode: Mode, own_format: ModuleType) -> None:
    rows = [{"passage": 2, "logit": 3}, {"passage": 0, "logit": -1.5}, {"passage": 1, "logit": -2.0}]
    answer = {"id": "a-1", "ranking": rows, "tokens": 40}
    replay = answering(answer)
    response = ask(mode, own_format.AcmeV3, replay, top_n=2)
    assert [(each.index, each.relevance_score) for each in response.results] == [(2, 3.0), (0, -1.5)]
    assert response.id == "a-1"
    assert response.meta.billed_units is not None
    assert response.meta.billed_units.total_tokens == 40
    (request,) = replay.seen
    assert str(request.url) == "https://api.acme.example/v3/score"
    assert json.loads(request.content) == {"question": QUERY, "passages": DOCUMENTS}


def test_test_of_the_page_passes(own_format: ModuleType) -> None:
    own_format.test_best_passage_comes_first()


def test_answer_that_leaves_a_document_out_is_refused(mode: Mode, own_format: ModuleType) -> None:
    replay = answering({"ranking": [{"passage": 0, "logit": -3.0}]})
    with pytest.raises(APIResponseValidationError, match="1 results came back where 3 were asked for"):
        ask(mode, own_format.AcmeV3, replay, top_n=1)


class InOrder(Provider):
    """Has one score for each document, and no key."""

    prefix = "in_order"
    title = "In order"
    needs_key = False
    sends_top_n = False
    default_base = "https://api.acme.example"

    def url(self, request: RerankRequest) -> str:
        return self.base

    def body(self, request: RerankRequest) -> dict[str, Any]:
        return {"texts": list(request.documents)}

    def parse_body(self, body: Any, request: RerankRequest) -> Answer:
        if "scores" not in body:
            raise ValueError(f"no scores for {request.query}")
        return Answer(scores=in_order(body, request, scores="scores"))


def test_scores_in_the_order_of_the_documents(mode: Mode) -> None:
    reranker = mode.reranker(
        "in_order/x", custom_llm_provider=InOrder, http_client=answering({"scores": [1, 3.0, 2]}).client(mode)
    )
    assert [each.index for each in mode.rerank(reranker, QUERY, DOCUMENTS).results] == [1, 2, 0]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"scores": [1.0]}, "the answer has no list 'scores' with one score for each document"),
        ({"scores": [1.0, None, 2.0]}, "scores[1]"),
        ({"other": 1}, "parse_body raised a ValueError in test_own_provider.py, line "),
        ([], "parse_body raised a ValueError in test_own_provider.py, line "),
    ],
)
def test_answer_that_cannot_be_read_lets_a_fallback_answer(mode: Mode, answer: Any, why: str) -> None:
    client = answering(answer).client(mode)
    only = mode.reranker("in_order/x", custom_llm_provider=InOrder, http_client=client)
    with pytest.raises(APIResponseValidationError) as caught:
        mode.rerank(only, QUERY, DOCUMENTS)
    assert why in str(caught.value)
    assert QUERY not in "".join(traceback.format_exception(caught.value))
    safe = mode.reranker("in_order/x", custom_llm_provider=InOrder, http_client=client, fallbacks=["local/lexical"])
    assert mode.rerank(safe, QUERY, DOCUMENTS).provider == "local"


class Nameless(Provider):
    """Has no prefix."""


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (dict, "must be a subclass of anyrerank.providers.Provider"),
        (3, "must be a subclass of anyrerank.providers.Provider"),
        (Nameless, "Nameless must have a prefix"),
    ],
)
def test_invalid_class_raises(given: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Reranker("acme/x", custom_llm_provider=given)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no_such_module:Acme", "ModuleNotFoundError"),
        ("json:nothing", "AttributeError"),
        ("json:dumps", "must be a subclass of anyrerank.providers.Provider"),
        ("anyrerank.providers.cohere:Cohere", "its prefix is 'cohere'"),
    ],
)
def test_unusable_entry_point_raises_with_the_reason(value: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("acme", value, providers.ENTRY_POINTS)
    monkeypatch.setattr(providers, "entry_points", lambda **wanted: [point])
    with pytest.raises(ConfigurationError) as caught:
        anyrerank.Reranker("acme/x")
    assert f"the entry point 'acme' = {value} is not a usable provider: " in caught.value.message
    assert message in caught.value.message


def test_provider_of_this_package_takes_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("novita", "no_such_module:X", providers.ENTRY_POINTS)
    monkeypatch.setattr(providers, "entry_points", lambda **wanted: [point])
    providers.load.cache_clear()
    assert providers.load("novita").title == "Novita AI"
