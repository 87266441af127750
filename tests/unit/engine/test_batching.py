import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from anyrerank._core.engine import candidates
from anyrerank._core.engine.batching import batched, merged, total_usage
from anyrerank._core.runtime import Blocking, Flow, run
from anyrerank._core.types import Answer, BilledUnits, Document, Meta, RerankRequest, Tokens
from anyrerank.errors import BadRequestError, InternalServerError


@dataclass
class Server:
    """Scores a document by its number, and refuses requests with more than `limit` characters."""

    limit: int = 10**9
    asked: list[RerankRequest] = field(default_factory=list)

    def __call__(self, request: RerankRequest) -> Flow[Answer]:
        answer: Answer = yield Blocking(lambda: self.answer(request))
        return answer

    def answer(self, request: RerankRequest) -> Answer:
        self.asked.append(request)
        texts = [str(document) for document in request.documents]
        if sum(map(len, texts)) > self.limit:
            raise BadRequestError(
                "the request is too large", status_code=413, provider="p", request_id="r", too_large=True
            )
        scores = [(index, float(text)) for index, text in enumerate(texts)]
        best = sorted(scores, key=lambda pair: -pair[1])[: request.top_n]
        return Answer(
            scores=best, id=f"id-{texts[0]}", meta=Meta(billed_units=BilledUnits(search_units=1)), request_id=texts[0]
        )

    @property
    def batches(self) -> list[list[str]]:
        return [[str(document) for document in request.documents] for request in self.asked]


def numbered(count: int) -> list[str]:
    return [str(number) for number in range(10, 10 + count)]


def ask_all(
    server: Server,
    documents: Sequence[Document],
    *,
    size: int = 1000,
    top_n: int | None = None,
    may_split: bool = True,
    index_of: Callable[[int], int] = lambda index: index,
) -> Answer:
    request = RerankRequest(query="q", documents=documents, top_n=top_n, options={"truncate": "END"})
    flow = batched(
        server,
        request,
        starts=range(0, len(documents), size),
        limit=1,
        index_of=index_of,
        may_split=may_split,
    )
    return run(flow)


@pytest.mark.parametrize(
    ("count", "size", "sizes"),
    [(1, 1, [1]), (5, 5, [5]), (5, 9, [5]), (6, 5, [5, 1]), (10, 5, [5, 5]), (11, 5, [5, 5, 1]), (3, 1, [1, 1, 1])],
)
def test_documents_are_split_in_order_and_scores_have_the_right_index(count: int, size: int, sizes: list[int]) -> None:
    server = Server()
    answer = ask_all(server, numbered(count), size=size)
    assert [len(batch) for batch in server.batches] == sizes
    assert [text for batch in server.batches for text in batch] == numbered(count)
    assert sorted(answer.scores) == [(index, float(index + 10)) for index in range(count)]


def test_single_batch_is_not_copied() -> None:
    server = Server()
    documents = numbered(3)
    answer = ask_all(server, documents, size=3, top_n=2)
    assert server.asked[0].documents is documents
    assert answer.id == "id-10"


def test_every_batch_has_the_query_and_the_options() -> None:
    server = Server()
    ask_all(server, numbered(4), size=2)
    assert {(request.query, request.options["truncate"]) for request in server.asked} == {("q", "END")}


def test_each_batch_asks_for_top_n_results() -> None:
    server = Server()
    answer = ask_all(server, numbered(7), size=3, top_n=2)
    assert [request.top_n for request in server.asked] == [2, 2, 1]
    assert {(5, 15.0), (6, 16.0)} <= set(answer.scores)


def test_usage_is_summed_and_the_last_request_id_is_kept() -> None:
    answer = ask_all(Server(), numbered(5), size=2)
    assert answer.meta.billed_units == BilledUnits(search_units=3)
    assert answer.request_id == "14"


def test_batch_that_is_too_large_is_halved_until_it_fits() -> None:
    server = Server(limit=4)
    answer = ask_all(server, numbered(7))
    assert [len(batch) for batch in server.batches] == [7, 3, 1, 2, 4, 2, 2]
    assert sorted(answer.scores) == [(index, float(index + 10)) for index in range(7)]
    assert answer.meta.billed_units == BilledUnits(search_units=4)


def test_halves_of_a_later_batch_have_the_right_index() -> None:
    answer = ask_all(Server(limit=2), numbered(7), size=3)
    assert sorted(answer.scores) == [(index, float(index + 10)) for index in range(7)]


def test_halves_ask_for_no_more_results_than_documents() -> None:
    server = Server(limit=4)
    ask_all(server, numbered(4), top_n=3)
    assert [request.top_n for request in server.asked] == [3, 2, 2]


@pytest.mark.parametrize("size", [1000, 2])
def test_single_document_that_is_too_large_is_named_in_the_error(size: int) -> None:
    documents = ["10", "11", "12", "123456", "14"]
    with pytest.raises(BadRequestError, match=r"documents\[103\] is too large.*too large") as caught:
        ask_all(Server(limit=5), documents, size=size, index_of=lambda index: index + 100)
    assert (caught.value.status_code, caught.value.provider, caught.value.request_id) == (413, "p", "r")
    assert "123456" not in str(caught.value)
    assert "documents[103]" in str(pickle.loads(pickle.dumps(caught.value)))  # noqa: S301


def test_listwise_request_is_not_halved() -> None:
    server = Server(limit=4)
    with pytest.raises(BadRequestError, match=r"^the request is too large") as caught:
        ask_all(server, numbered(7), may_split=False)
    assert caught.value.status_code == 413
    assert len(server.asked) == 1


def test_other_error_is_not_halved() -> None:
    class Failing(Server):
        def answer(self, request: RerankRequest) -> Answer:
            self.asked.append(request)
            raise InternalServerError("failed", status_code=500)

    server = Failing()
    with pytest.raises(InternalServerError):
        ask_all(server, numbered(4))
    assert len(server.asked) == 1


def units(search_units: int | None = None, total_tokens: int | None = None) -> Meta:
    return Meta(billed_units=BilledUnits(search_units=search_units, total_tokens=total_tokens))


@pytest.mark.parametrize(
    ("metas", "total"),
    [
        ([Meta()], Meta()),
        ([Meta(), Meta()], Meta()),
        ([units(1), units(2)], units(3)),
        ([units(0), units(0)], units(0)),
        ([units(1, 10), units(2, 20)], units(3, 30)),
        ([units(1, 10), units(2)], units(3)),
        ([units(1), Meta()], Meta()),
        (
            [Meta(tokens=Tokens(input_tokens=5, output_tokens=1)), Meta(tokens=Tokens(input_tokens=7))],
            Meta(tokens=Tokens(input_tokens=12)),
        ),
        ([Meta(estimated=True), Meta()], Meta(estimated=True)),
        (
            [Meta(warnings=("old",)), Meta(warnings=("slow", "old"))],
            Meta(warnings=("old", "slow")),
        ),
        (
            [Meta(), Meta(api_version={"version": "2"}), Meta(api_version={"version": "1"})],
            Meta(api_version={"version": "2"}),
        ),
    ],
)
def test_usage_is_summed_or_left_out_if_an_answer_lacks_it(metas: list[Meta], total: Meta) -> None:
    assert total_usage(metas) == total


def test_merged_answer_has_all_scores_and_the_last_request_id() -> None:
    parts = [Answer(scores=[(0, 1.0)], request_id="a"), Answer(scores=[(1, 2.0)])]
    assert merged(parts) == Answer(scores=[(0, 1.0), (1, 2.0)], request_id="a")


def text_of(document: Document) -> str:
    return document if isinstance(document, str) else document["text"]


def test_candidates_are_the_documents_if_none_is_blank_or_merged() -> None:
    documents = ["a", "b", "a"]
    kept = candidates(documents, [], key=None)
    assert kept.documents is documents
    assert [kept.index_of(index) for index in range(3)] == [0, 1, 2]
    scores = [(2, 0.5), (0, 0.1)]
    assert kept.spread(scores) == scores


@pytest.mark.parametrize(
    ("documents", "blank", "key", "sent", "spread"),
    [
        (["", "a", " ", "b"], [0, 2], None, {1: "a", 3: "b"}, [(1, 0.0), (3, 1.0)]),
        (["a", "b", "a", "c", "b"], [], text_of, {0: "a", 1: "b", 3: "c"}, [(0, 0), (2, 0), (1, 1), (4, 1), (3, 2)]),
        (["", "a", "", "a"], [0, 2], text_of, {1: "a"}, [(1, 0.0), (3, 0.0)]),
        (["a", "b", "a"], [1], None, {0: "a", 2: "a"}, [(0, 0.0), (2, 1.0)]),
    ],
    ids=["blanks", "duplicates", "blank duplicates", "duplicates that are not merged"],
)
def test_blank_documents_are_left_out_and_duplicates_share_a_score(
    documents: list[str],
    blank: list[int],
    key: Callable[[Document], str] | None,
    sent: dict[int, str],
    spread: list[tuple[int, float]],
) -> None:
    kept = candidates(documents, blank, key=key)
    assert {kept.index_of(index): document for index, document in enumerate(kept.documents)} == sent
    assert kept.blank == blank
    assert list(kept.spread([(index, float(index)) for index in range(len(sent))])) == spread


def test_first_duplicate_is_sent() -> None:
    documents: list[Any] = [{"text": "a", "source": "first"}, {"text": "a", "source": "second"}]
    assert list(candidates(documents, [], key=text_of).documents) == [documents[0]]
