"""The pipeline in LangChain: `InMemoryVectorStore`, `RerankRetriever` and a prompt."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from typing_extensions import override

from anyrerank._core.client import Reranker
from anyrerank.demo.corpus import passages
from anyrerank.demo.embedding import Lsa
from anyrerank.demo.pipeline import Outcome, Ranked, Settings
from anyrerank.errors import MissingExtraError

try:
    from langchain_core.callbacks import BaseCallbackHandler
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.prompt_values import PromptValue
    from langchain_core.prompts import ChatPromptTemplate
    from langchain_core.runnables import Runnable, RunnablePassthrough
    from langchain_core.vectorstores import InMemoryVectorStore
except ImportError as error:
    raise MissingExtraError("the demo needs LangChain: pip install 'anyrerank[demo]'") from error

from anyrerank.langchain import AnyRerank, RerankRetriever

PROMPT = ChatPromptTemplate.from_template("Answer only from these passages.\n\n{context}\n\nQuestion: {question}")


class LsaEmbeddings(Embeddings):
    """`Lsa` as a LangChain embedding."""

    def __init__(self, lsa: Lsa) -> None:
        self._lsa = lsa

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed several texts."""
        return self._lsa.vectors(texts)

    def embed_query(self, text: str) -> list[float]:
        """Embed a question."""
        return self._lsa.vector(text)


def documents() -> list[Document]:
    """The passages as LangChain documents, with their topic as metadata."""
    return [Document(passage.text, metadata={"topic": passage.topic}) for passage in passages()]


def vector_store(lsa: Lsa) -> InMemoryVectorStore:
    """A vector store with every passage."""
    store = InMemoryVectorStore(LsaEmbeddings(lsa))
    store.add_documents(documents())
    return store


def format_documents(documents: Sequence[Document]) -> str:
    """Join documents to the context of a prompt."""
    return "\n\n".join(f"[{document.metadata['topic']}] {document.page_content}" for document in documents)


class LangChainPipeline:
    """Splits, embeds and stores the text when it is created.

    Args:
        lsa: The embedding.
        reranker: The reranker.
        settings: The numbers of passages.
    """

    framework = "LangChain"
    steps = "InMemoryVectorStore → RerankRetriever(AnyRerank) → prompt"

    def __init__(self, lsa: Lsa, reranker: Reranker, settings: Settings) -> None:
        start = time.perf_counter()
        self._store = vector_store(lsa)
        self.indexing_seconds = time.perf_counter() - start
        self._candidates = settings.candidates
        retriever = RerankRetriever(
            base_retriever=self._store.as_retriever(search_kwargs={"k": settings.candidates}),
            reranker=AnyRerank(**settings.options(reranker)),
        )
        context: Mapping[str, Any] = {"context": retriever | format_documents, "question": RunnablePassthrough()}
        self._chain: Runnable[str, PromptValue] = context | PROMPT

    def ask(self, question: str) -> Outcome:
        """Run the chain, which ends with the prompt for a language model."""
        recorder = _Recorder()
        prompt = self._chain.invoke(question, {"callbacks": [recorder]})
        scored = self._store.similarity_search_with_score(question, self._candidates)
        similarity = {document.id: score for document, score in scored}
        return Outcome(
            before=tuple(_ranked(document, similarity.get(document.id)) for document in recorder.retrieved),
            after=tuple(_ranked(document, document.metadata["relevance_score"]) for document in recorder.reranked),
            prompt=str(prompt.to_messages()[-1].content),
            retrieval_seconds=recorder.retrieval_seconds,
            reranking_seconds=recorder.reranking_seconds,
        )


class _Recorder(BaseCallbackHandler):
    """Records the documents and the time of retrieval and reranking, as any LangChain tracer can."""

    raise_error = True

    def __init__(self) -> None:
        self.retrieved: list[Document] = []
        self.reranked: list[Document] = []
        self.retrieval_seconds = self.reranking_seconds = 0.0
        self._started: dict[UUID, float] = {}
        self._reranks: set[UUID] = set()

    @override
    def on_retriever_start(self, serialized: dict[str, Any], query: str, *, run_id: UUID, **kwargs: Any) -> None:
        self._started[run_id] = time.perf_counter()

    @override
    def on_retriever_end(self, documents: Sequence[Document], *, run_id: UUID, **kwargs: Any) -> None:
        if not self.retrieved:  # the inner retriever ends first; the outer one returns what was reranked
            self.retrieval_seconds = time.perf_counter() - self._started[run_id]
            self.retrieved = list(documents)

    @override
    def on_chain_start(
        self, serialized: dict[str, Any], inputs: dict[str, Any], *, run_id: UUID, **kwargs: Any
    ) -> None:
        if kwargs.get("name") == AnyRerank.get_name():
            self._reranks.add(run_id)
            self._started[run_id] = time.perf_counter()

    @override
    def on_chain_end(self, outputs: dict[str, Any], *, run_id: UUID, **kwargs: Any) -> None:
        if run_id in self._reranks:
            self.reranking_seconds = time.perf_counter() - self._started[run_id]
            self.reranked = outputs["documents"]


def _ranked(document: Document, score: float | None) -> Ranked:
    return Ranked(str(document.id), document.metadata["topic"], document.page_content, score)
