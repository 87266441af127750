"""The ranker in real pipelines of Haystack: what it sends, what comes back, and what a pipeline file holds."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import dataclass
from typing import Any

import haystack
import pytest
from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
from haystack.dataclasses import ByteStream
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.utils import Secret
from tests.support.frameworks import COHERE, NVIDIA_VL, Wire, in_turn, refusing, well
from tests.support.harness import KEY, QUERY
from tests.support.loopback import Loopback

from anyrerank import AuthenticationError, BadRequestError, Budget, ConfigurationError, RateLimitError, Reranker
from anyrerank.haystack import AnyRerank
from anyrerank.providers import load

TEXTS = ["c 0.3", "a 0.9", "b 0.5"]
RANKED = [("a 0.9", 0.9), ("b 0.5", 0.5), ("c 0.3", 0.3)]
AsyncPipeline: type[Any] = getattr(haystack, "AsyncPipeline", Pipeline)  # of Haystack 2; in 3 there is one class


@dataclass(frozen=True)
class Face:
    """The component in sync or async."""

    asynchronous: bool

    def make(self, wire: Wire, **options: Any) -> AnyRerank:
        given = {"model": COHERE, "api_key": Secret.from_token(KEY), "max_retries": 0, **options}
        return AnyRerank(http_client=wire.client(asynchronous=self.asynchronous), **given)

    def rerank(self, ranker: AnyRerank, found: list[Any], query: str = QUERY, **options: Any) -> list[Document]:
        documents = [Document(content=each) if isinstance(each, str) else each for each in found]
        if self.asynchronous:
            return asyncio.run(ranker.run_async(query=query, documents=documents, **options))["documents"]
        return ranker.run(query=query, documents=documents, **options)["documents"]

    def ranked(self, ranker: AnyRerank, found: list[Any], **options: Any) -> list[tuple[str | None, float | None]]:
        return [(each.content, each.score) for each in self.rerank(ranker, found, **options)]


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def face(request: pytest.FixtureRequest) -> Face:
    return Face(request.param)


@pytest.fixture
def wire() -> Wire:
    return Wire()


def store() -> InMemoryDocumentStore:
    made = InMemoryDocumentStore()
    made.write_documents([Document(content=f"planet {text}", meta={"number": n}) for n, text in enumerate(TEXTS)])
    return made


def pipeline(kind: type[Any], ranker: AnyRerank) -> Any:
    made = kind()
    made.add_component("retriever", InMemoryBM25Retriever(store()))
    made.add_component("ranker", ranker)
    made.connect("retriever.documents", "ranker.documents")
    return made


INPUTS = {"retriever": {"query": "planet"}, "ranker": {"query": QUERY}}


def test_documents_come_back_best_first_after_one_request(face: Face, wire: Wire) -> None:
    assert face.ranked(face.make(wire), TEXTS) == RANKED
    assert wire.body == {"model": "rerank-v3.5", "query": QUERY, "documents": TEXTS}
    assert wire.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_a_pipeline_retrieves_and_reranks(wire: Wire) -> None:
    found = pipeline(Pipeline, Face(asynchronous=False).make(wire, top_k=2)).run(INPUTS)["ranker"]["documents"]
    assert [(each.meta["number"], each.score) for each in found] == [(1, 0.9), (2, 0.5)]
    assert wire.body["top_n"] == 2


async def test_an_asynchronous_pipeline_uses_no_thread(wire: Wire) -> None:
    ranker = Face(asynchronous=True).make(wire)  # its client can be used asynchronously only
    answer = await pipeline(AsyncPipeline, ranker).run_async(INPUTS)
    assert [each.meta["number"] for each in answer["ranker"]["documents"]] == [1, 2, 0]


async def test_closing_a_pipeline_closes_the_connections_of_its_ranker(server: Loopback) -> None:
    ranker = AnyRerank(COHERE, api_key=Secret.from_token(KEY), api_base=server.url)
    made: Any = pipeline(Pipeline, ranker)
    closing = made if hasattr(made, "close_async") else ranker  # a pipeline of Haystack 2 closes nothing
    documents = [Document(content="low 9"), Document(content="high 0")]
    assert ranker.run(query=QUERY, documents=documents) == await ranker.run_async(query=QUERY, documents=documents)
    assert server.settles(2)
    closing.close()
    assert await asyncio.to_thread(server.settles, 1)
    await closing.close_async()
    assert await asyncio.to_thread(server.wait_until_no_connection)


def test_top_k_of_a_call_wins(face: Face, wire: Wire) -> None:
    ranker = face.make(wire, top_k=2)
    assert face.ranked(ranker, TEXTS) == RANKED[:2]
    assert face.ranked(ranker, TEXTS, top_k=1) == RANKED[:1]
    with pytest.raises(BadRequestError, match="top_n must be a positive integer"):
        face.rerank(ranker, TEXTS, top_k=0)
    assert len(wire.requests) == 2


def test_empty_list_sends_nothing(face: Face, wire: Wire) -> None:
    assert face.rerank(face.make(wire), []) == []
    assert wire.requests == []


def test_blank_documents_are_not_sent_and_come_last(face: Face, wire: Wire) -> None:
    picture = Document(blob=ByteStream(b"\x89PNG", mime_type="image/png"))
    found = face.rerank(face.make(wire), ["", "b 0.5", picture, "a 0.9"])
    assert [(each.content, each.score) for each in found] == [
        ("a 0.9", 0.9), ("b 0.5", 0.5), ("", None), (None, None)
    ]  # fmt: skip
    assert found[-1].blob == picture.blob
    assert wire.sent == ["b 0.5", "a 0.9"]


def test_an_image_is_ranked_with_the_text_where_the_model_reads_it(face: Face, wire: Wire) -> None:
    picture = Document(content="a cover 0.7", blob=ByteStream(b"\x89PNG", mime_type="image/png"))
    sound = Document(content="a song 0.2", blob=ByteStream(b"ID3", mime_type="audio/mpeg"))
    face.rerank(face.make(wire, model=NVIDIA_VL), [sound, picture])
    assert wire.sent == [{"text": "a song 0.2"}, {"text": "a cover 0.7", "image": "data:image/png;base64,iVBORw=="}]


def test_input_is_not_changed_and_everything_is_kept(face: Face, wire: Wire) -> None:
    items = [
        Document(id=f"id-{text[0]}", content=text, meta={"tags": [text]}, score=0.1, embedding=[0.5]) for text in TEXTS
    ]
    before = copy.deepcopy(items)
    found = face.rerank(face.make(wire, keep_retrieval_score=True), [*items, items[0]])
    assert items == before
    assert [each.id for each in found] == ["id-a", "id-b", "id-c", "id-c"]
    assert [each.meta for each in found] == [
        {"tags": [text], "retrieval_score": 0.1} for text in ("a 0.9", "b 0.5", "c 0.3", "c 0.3")
    ]
    assert all(each.embedding == [0.5] for each in found)
    assert {type(each.score) for each in found} == {float}


def test_metadata_has_the_model_that_answered_if_asked(face: Face, wire: Wire) -> None:
    items = [Document(content="a 0.9")]
    assert face.rerank(face.make(wire), items)[0].meta == {}
    assert face.rerank(face.make(wire, model_key="by"), items)[0].meta == {"by": "cohere/rerank-v3.5"}


def test_rank_fields_and_text_fn_choose_what_is_ranked(face: Face, wire: Wire) -> None:
    items = [Document(content="body", meta={"title": "first 0.1"}), Document(content="p", meta={"title": "second 0.2"})]
    assert [each.content for each in face.rerank(face.make(wire, rank_fields=["title"]), items)] == ["p", "body"]
    face.rerank(face.make(wire, text_fn=lambda document: document.meta["title"].upper()), items)
    assert wire.bodies[1]["documents"] == ["FIRST 0.1", "SECOND 0.2"]
    assert "body" not in str(wire.bodies)


def test_what_is_not_a_document_is_refused_unsent(face: Face, wire: Wire) -> None:
    with pytest.raises(BadRequestError, match=r"documents\[0\] must be a Haystack Document, got dict"):
        face.rerank(face.make(wire, on_error="passthrough"), [{"content": "a"}])
    assert wire.requests == []


def test_blank_query_is_refused_unsent(face: Face, wire: Wire) -> None:
    with pytest.raises(BadRequestError, match="query must not be blank"):
        face.rerank(face.make(wire), TEXTS, " ")
    assert wire.requests == []


def test_a_failure_is_one_typed_error(face: Face) -> None:
    with pytest.raises(RateLimitError) as caught:
        face.rerank(face.make(Wire(refusing(429))), TEXTS)
    assert caught.value.status_code == 429


def test_passthrough_marks_documents_until_a_rerank_succeeds(face: Face) -> None:
    ranker = face.make(Wire(in_turn(refusing(500), well)), on_error="passthrough")
    degraded = face.rerank(ranker, TEXTS)
    assert [(each.content, each.score, each.meta) for each in degraded] == [
        (text, None, {"degraded": True}) for text in TEXTS
    ]
    again = Face(asynchronous=False).rerank(AnyRerank("local/lexical"), degraded, "a 0.9")
    assert [each.meta for each in again] == [{}, {}, {}]


def test_guardrails_change_what_is_sent(face: Face, wire: Wire) -> None:
    face.rerank(face.make(wire, guardrails=[str.upper]), TEXTS)
    assert wire.body["query"] == QUERY.upper()


def test_a_ready_reranker_is_used(wire: Wire) -> None:
    client: Any = wire.client(asynchronous=False)
    with Reranker(COHERE, api_key=KEY, http_client=client) as reranker:
        found = Face(asynchronous=False).ranked(AnyRerank(reranker=reranker, top_k=1), TEXTS)
    assert found == RANKED[:1]


def test_the_variable_of_a_secret_is_read_at_each_call(face: Face, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COHERE_API_KEY", "not-this-one")
    ranker = face.make(wire, api_key=Secret.from_env_var("KEY_OF_THE_TESTS"))
    with pytest.raises(AuthenticationError, match="KEY_OF_THE_TESTS"):
        face.rerank(ranker, TEXTS)
    for key in ("first", "second"):
        monkeypatch.setenv("KEY_OF_THE_TESTS", key)
        face.rerank(ranker, TEXTS)
    assert [request.headers["authorization"] for request in wire.requests] == ["Bearer first", "Bearer second"]


def test_without_a_secret_the_variable_of_the_provider_is_read(
    face: Face, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AuthenticationError, match="COHERE_API_KEY"):
        face.rerank(face.make(wire, api_key=None), TEXTS)
    monkeypatch.setenv("COHERE_API_KEY", "from-the-environment")
    face.rerank(face.make(wire, api_key=None), TEXTS)
    assert wire.requests[0].headers["authorization"] == "Bearer from-the-environment"


def test_a_plain_key_is_refused_without_showing_it() -> None:
    plain: Any = "sk-very-secret"
    with pytest.raises(BadRequestError, match="api_key must be a Secret, got str") as caught:
        AnyRerank(COHERE, api_key=plain)
    assert "sk-very-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"topk": 3}, "topk"),
        ({"top_k": 3, "top_n": 2}, "top_k and top_n"),
        ({"top_k": 0}, "top_n must be a positive integer"),
        ({"model": None}, "model='provider/model'"),
    ],
)
def test_wrong_options_are_errors_of_the_constructor(options: dict[str, Any], says: str) -> None:
    with pytest.raises(BadRequestError, match=says):
        AnyRerank(**{"model": COHERE, **options})


def test_a_pipeline_file_holds_the_options_and_the_name_of_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAYSTACK_DESERIALIZATION_ALLOWLIST", "anyrerank.haystack")  # which Haystack 2 does not need
    monkeypatch.setenv("KEY_OF_THE_TESTS", "sk-very-secret")
    ranker = AnyRerank(
        COHERE,
        api_key=Secret.from_env_var("KEY_OF_THE_TESTS"),
        top_k=2,
        timeout=None,
        fuse=None,
        headers={"x-team": "sk-very-secret"},
        fallbacks=["voyage/rerank-2.5"],
        max_tokens_per_doc=99,
    )
    text = pipeline(Pipeline, ranker).dumps()
    loaded: Any = Pipeline.loads(text).get_component("ranker")
    assert "sk-very-secret" not in text
    assert loaded.to_dict() == ranker.to_dict() == {
        "type": "anyrerank.haystack.AnyRerank",
        "init_parameters": {
            "model": COHERE,
            "api_key": {"type": "env_var", "env_vars": ["KEY_OF_THE_TESTS"], "strict": True},
            "top_k": 2,
            "timeout": None,
            "fuse": None,
            "fallbacks": ["voyage/rerank-2.5"],
            "max_tokens_per_doc": 99,
        },
    }  # fmt: skip


def test_a_loaded_pipeline_reranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAYSTACK_DESERIALIZATION_ALLOWLIST", "anyrerank.haystack")  # which Haystack 2 does not need
    made = Pipeline()
    made.add_component("ranker", AnyRerank("local/lexical", top_k=1, fuse=None))
    documents = store().filter_documents()
    (found,) = Pipeline.loads(made.dumps()).run({"query": "b 0.5", "documents": documents})["ranker"]["documents"]
    assert found.meta["number"] == 2


@pytest.mark.parametrize(
    "options",
    [
        {"guardrails": [str.upper]},
        {"budget": Budget(1.0, "1d")},
        {"text_fn": lambda document: document.content},
        {"model": None, "reranker": Reranker(COHERE)},
        {"fallbacks": [Reranker(COHERE)]},
        {"model": "m", "custom_llm_provider": load("cohere")},
        {"api_base": "http://host/v2?api_key=sk-very-secret"},
    ],
    ids="-".join,
)
def test_what_a_file_cannot_hold_is_an_error(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="cannot be dumped"):
        AnyRerank(**{"model": COHERE, **options}).to_dict()


def test_a_key_that_was_passed_in_is_never_written() -> None:
    with pytest.raises(ValueError, match="token-based") as caught:
        AnyRerank(COHERE, api_key=Secret.from_token("sk-very-secret")).to_dict()
    assert "sk-very-secret" not in str(caught.value)


def test_repr_shows_no_key() -> None:
    ranker = AnyRerank(COHERE, api_key=Secret.from_token("sk-very-secret"))
    assert "sk-very-secret" not in repr(ranker)
    assert "documents: list[Document]" in repr(pipeline(Pipeline, ranker).get_component("ranker"))
