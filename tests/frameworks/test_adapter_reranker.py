"""Both adapters over a ready `Reranker` or `Router`."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.frameworks import COHERE, LOCAL, Face, Wire, in_turn, refusing, well
from tests.support.harness import KEY, QUERY
from tests.support.loopback import Loopback

from anyrerank import BadRequestError, Reranker, Router, using_attributes
from anyrerank.hooks import CallEvent

ITEMS = ["c 0.3", "a 0.9", "b 0.5"]
RANKED = [("a 0.9", 0.9), ("b 0.5", 0.5), ("c 0.3", 0.3)]
APPLES = ["cherry pie", "apple pie", "apple apple"]


@pytest.mark.parametrize(
    ("own", "fields", "count"),
    [
        ({"top_n": 2}, {}, 2),
        ({"score_threshold": 0.5}, {}, 2),
        ({"top_n": 1}, {"top_n": 2}, 2),
        ({"fuse": "rrf", "top_n": 1}, {}, 1),
    ],
    ids=str,
)
def test_ready_reranker_keeps_its_options(
    face: Face, wire: Wire, own: dict[str, Any], fields: dict[str, Any], count: int
) -> None:
    reranker = Reranker(COHERE, api_key=KEY, http_client=wire.client(asynchronous=face.asynchronous), **own)
    found = face.ranked(face.make(reranker=reranker, **fields), ITEMS)
    assert found == [
        (ITEMS[index], score)
        for index, score in Reranker(COHERE, api_key=KEY, http_client=Wire().client(asynchronous=False), **own)
        .rerank(QUERY, ITEMS, **fields)
        .results.pairs()
    ]
    assert len(found) == count


def test_ready_reranker_keeps_its_rank_fields(face: Face, wire: Wire) -> None:
    client = wire.client(asynchronous=face.asynchronous)
    reranker = Reranker(COHERE, api_key=KEY, http_client=client, rank_fields=["title"])
    items = [face.item("body", title="first 0.1"), face.item("body", title="second 0.2")]
    found = face.rerank(face.make(reranker=reranker), items)
    assert [item.metadata["title"] for item in found] == ["second 0.2", "first 0.1"]


@pytest.mark.parametrize(("fields", "fused"), [({}, True), ({"fuse": None}, False)], ids=str)
def test_ready_local_reranker_is_fused_like_a_model(face: Face, fields: dict[str, Any], fused: bool) -> None:
    found = face.ranked(face.make(reranker=Reranker(LOCAL), **fields), APPLES, "apple")
    assert found == face.ranked(face.make(model=LOCAL, api_key=None, **fields), APPLES, "apple")
    assert (max(score or 0 for _, score in found) < 0.04) is fused


@pytest.mark.parametrize(
    "field",
    [
        {"score_threshold": 0.5},
        {"rank_fields": ["title"]},
        {"batch_size": 1},
        {"api_key": KEY},
        {"api_base": "http://x"},
    ],
    ids=str,
)
def test_ready_reranker_refuses_fields_that_it_would_ignore(framework: Face, field: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError, match=f"{next(iter(field))} cannot be set"):
        framework.kind(reranker=Reranker(COHERE), **field)


def test_ready_reranker_gets_the_metadata_of_the_fields(face: Face, wire: Wire) -> None:
    calls: list[CallEvent] = []
    client = wire.client(asynchronous=face.asynchronous)
    own = {"team": "search", "page": 1}
    ready = Reranker(COHERE, api_key=KEY, http_client=client, metadata=own, hooks=[calls.append])
    face.rerank(face.make(reranker=ready), ITEMS)
    adapter = face.make(reranker=ready, metadata={"page": 2, "line": 3})
    face.rerank(adapter, ITEMS)
    with using_attributes(metadata={"line": 4}):
        face.rerank(adapter, ITEMS)
    assert [event.metadata for event in calls] == [own, {**own, "page": 2, "line": 3}, {**own, "page": 2, "line": 4}]


DEPLOYMENTS = [
    {"model_name": name, "litellm_params": {"model": f"cohere/{name}-model", "api_key": KEY}} for name in ("a", "b")
]


@pytest.mark.parametrize("model", ["a", "b"])
def test_router_is_asked_for_the_model(face: Face, wire: Wire, model: str) -> None:
    router = Router(DEPLOYMENTS, http_client=wire.client(asynchronous=face.asynchronous), top_n=2)
    assert face.ranked(face.make(reranker=router, model=model), ITEMS) == RANKED[:2]
    assert wire.body["model"] == f"{model}-model"


def test_router_fallback_answers_after_a_failure(face: Face) -> None:
    wire = Wire(in_turn(refusing(503), well))
    client = wire.client(asynchronous=face.asynchronous)
    router = Router(DEPLOYMENTS, http_client=client, fallbacks={"a": ["b"]}, num_retries=0)
    assert face.ranked(face.make(reranker=router), ITEMS) == RANKED
    assert [body["model"] for body in wire.bodies] == ["a-model", "b-model"]


def test_unknown_model_of_a_router_is_refused(framework: Face) -> None:
    with pytest.raises(BadRequestError, match="no model 'c'"):
        framework.kind(reranker=Router(DEPLOYMENTS), model="c")


class _Watched(Reranker):
    """Counts how often it is closed."""

    closed = 0

    def close(self) -> None:
        self.closed += 1

    async def aclose(self) -> None:
        self.closed += 1


async def test_closing_leaves_a_ready_reranker_open(framework: Face, wire: Wire) -> None:
    reranker = _Watched(COHERE, api_key=KEY, http_client=wire.client(asynchronous=False))
    adapter = framework.make(reranker=reranker)
    framework.rerank(adapter, ITEMS)
    adapter.close()
    await adapter.aclose()
    assert reranker.closed == 0


def _pickled(adapter: Any) -> Any:
    return pickle.loads(pickle.dumps(adapter))  # noqa: S301


COPIES = [pytest.param(_pickled, id="pickle"), pytest.param(copy.deepcopy, id="deepcopy"), copy.copy]
LOOPBACK_ITEMS = ["low 9", "high 0", "middle 4"]
LOOPBACK_RANKED = [("high 0", 1.0), ("middle 4", 0.2), ("low 9", 0.1)]


@pytest.mark.parametrize("copied", COPIES)
def test_copy_has_the_ready_reranker(face: Face, server: Loopback, copied: Callable[[Any], Any]) -> None:
    reranker = Reranker(COHERE, api_key=KEY, top_n=1, api_base=server.url)
    twin = copied(face.make(reranker=reranker))
    assert face.ranked(twin, LOOPBACK_ITEMS) == LOOPBACK_RANKED[:1]
    assert [hit.headers["authorization"] for hit in server.hits] == [f"Bearer {KEY}"]
    twin._core().close()


def test_repr_shows_the_ready_reranker_without_its_key(framework: Face) -> None:
    assert repr(framework.make(reranker=Reranker(COHERE, api_key=KEY))) == f"AnyRerank(reranker=Reranker({COHERE!r}))"
