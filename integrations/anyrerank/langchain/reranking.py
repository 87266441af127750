"""One rerank of LangChain documents: the phases of a call, inside its trace."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from langchain_core.documents import Document as LangChainDocument

from anyrerank._core.client import BaseReranker, add_documents, completed, guarded
from anyrerank._core.engine import Call
from anyrerank._core.runtime import Flow
from anyrerank._core.types import Document, RerankResponse
from anyrerank.errors import BadRequestError, RerankError
from anyrerank.langchain.tracing import Ranked, Trace


@dataclass(frozen=True, slots=True)
class Reranking:
    """A prepared call and its trace.

    Attributes:
        core: The reranker that is called.
        call: The call.
        trace: Its trace, not started yet.
        texts_of: Returns the text, fields or image of each document that is ranked.
        scored: Returns the documents in the order of a response.
    """

    core: BaseReranker
    call: Call
    trace: Trace
    texts_of: Callable[[Sequence[LangChainDocument]], list[Document]]
    scored: Callable[[Sequence[LangChainDocument], RerankResponse], list[LangChainDocument]]

    def guarded(self) -> Flow[None]:
        """Run the guardrails, before the trace shows the query."""
        return guarded(self.call)

    def traced(self, documents: list[LangChainDocument]) -> Flow[list[LangChainDocument]]:
        """Rerank `documents`, after `guarded`."""
        return self.trace.around(self.call.query, documents, lambda: self._completed(documents))

    def whole(self, documents: list[LangChainDocument]) -> Flow[list[LangChainDocument]]:
        """`guarded`, then `traced`."""
        yield from self.guarded()
        return (yield from self.traced(documents))

    def _completed(self, documents: list[LangChainDocument]) -> Flow[Ranked]:
        if self.call.error is None:
            try:
                texts = self.texts_of(documents)
            except RerankError as error:
                self.call.refuse(error)
            else:
                add_documents(self.core, self.call, texts, [document.id for document in documents])
        response = yield from completed(self.core, self.call)
        return response, self.scored(documents, response)


def options_given(options: Mapping[str, object]) -> dict[str, object]:
    """The options of a call, without a `top_n` or `user` of `None`, for which the fields apply."""
    return {name: value for name, value in options.items() if value is not None or name not in ("top_n", "user")}


def query_and_documents(given: object) -> tuple[str, Iterable[LangChainDocument]]:
    """The input of a runnable.

    Raises:
        BadRequestError: It is not a mapping with `query` and `documents`.
    """
    if not isinstance(given, Mapping) or not {"query", "documents"} <= given.keys():
        missing = [name for name in ("query", "documents") if not isinstance(given, Mapping) or name not in given]
        raise BadRequestError(
            f"the input must be a mapping with 'query' and 'documents'; {type(given).__name__} has no {missing[0]}"
        )
    return given["query"], given["documents"]
