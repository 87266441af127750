"""The pipeline in LangChain: `InMemoryVectorStore`, `RerankRetriever`, a prompt."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from typing_extensions import override

from anyrerank._core.client import Reranker
from anyrerank.demo.corpus import passages
from anyrerank.demo.embedding import Lsa
from anyrerank.demo.outcome import Outcome, Ranked, Setting
from anyrerank.errors import ConfigurationError

try:
    from langchain_core.callbacks import BaseCallbackHandler
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.prompt_values import PromptValue
    from langchain_core.prompts import ChatPromptTemplate
    from langchain_core.runnables import Runnable, RunnablePassthrough
    from langchain_core.vectorstores import InMemoryVectorStore
except ImportError as error:
    raise ConfigurationError("the demo needs LangChain: pip install 'anyrerank[demo]'") from error

from anyrerank.langchain import AnyRerank, RerankRetriever

PROMPT = ChatPromptTemplate.from_template("Answer from these passages alone.\n\n{context}\n\nQuestion: {question}")


class LsaEmbeddings(Embeddings):
    """`Lsa` as LangChain wants an embedding."""

    def __init__(self, lsa: Lsa) -> None:
        self._lsa = lsa

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """A vector for each text."""
        return self._lsa.vectors(texts)

    def embed_query(self, text: str) -> list[float]:
        """The vector of a question."""
        return self._lsa.vector(text)


def documents() -> list[Document]:
    """The passages as LangChain's documents, with their topic as metadata."""
    return [Document(passage.text, metadata={"topic": passage.topic}) for passage in passages()]


def store(lsa: Lsa) -> InMemoryVectorStore:
    """A vector store that holds every passage."""
    made = InMemoryVectorStore(LsaEmbeddings(lsa))
    made.add_documents(documents())
    return made


def joined(found: Sequence[Document]) -> str:
    """Documents as the context of a prompt."""
    return "\n\n".join(f"[{document.metadata['topic']}] {document.page_content}" for document in found)


class LangChainPipeline:
    """Splits, embeds and stores the text when it is made.

    Args:
        lsa: The embedding.
        reranker: The model, connected.
        setting: What is run.
    """

    framework = "LangChain"
    steps = "InMemoryVectorStore → RerankRetriever(AnyRerank) → prompt"

    def __init__(self, lsa: Lsa, reranker: Reranker, setting: Setting) -> None:
        began = time.perf_counter()
        self._store = store(lsa)
        self.indexing = time.perf_counter() - began
        self._candidates = setting.candidates
        retriever = RerankRetriever(
            base_retriever=self._store.as_retriever(search_kwargs={"k": setting.candidates}),
            reranker=AnyRerank(**setting.options(reranker)),
        )
        context: Mapping[str, Any] = {"context": retriever | joined, "question": RunnablePassthrough()}
        self._chain: Runnable[str, PromptValue] = context | PROMPT

    def ask(self, question: str) -> Outcome:
        """Run the chain, which ends with what a language model would be sent."""
        watch = _Watch()
        prompt = self._chain.invoke(question, {"callbacks": [watch]})
        cosine = {
            found.id: score for found, score in self._store.similarity_search_with_score(question, self._candidates)
        }
        return Outcome(
            before=tuple(_ranked(document, cosine.get(document.id)) for document in watch.found),
            after=tuple(_ranked(document, document.metadata["relevance_score"]) for document in watch.reranked),
            prompt=str(prompt.to_messages()[-1].content),
            retrieval=watch.retrieval,
            reranking=watch.reranking,
        )


class _Watch(BaseCallbackHandler):
    """Sees what each part of a chain gives to the next one, and times it: any tracer could, for they are runs."""

    raise_error = True

    def __init__(self) -> None:
        self.found: list[Document] = []
        self.reranked: list[Document] = []
        self.retrieval = self.reranking = 0.0
        self._began: dict[UUID, float] = {}
        self._reranks: set[UUID] = set()

    @override
    def on_retriever_start(self, serialized: dict[str, Any], query: str, *, run_id: UUID, **kwargs: Any) -> None:
        self._began[run_id] = time.perf_counter()

    @override
    def on_retriever_end(self, documents: Sequence[Document], *, run_id: UUID, **kwargs: Any) -> None:
        if not self.found:  # the first one that ends is the store's; the one around it hands on what was reranked
            self.retrieval = time.perf_counter() - self._began[run_id]
            self.found = list(documents)

    @override
    def on_chain_start(
        self, serialized: dict[str, Any], inputs: dict[str, Any], *, run_id: UUID, **kwargs: Any
    ) -> None:
        if kwargs.get("name") == AnyRerank.get_name():
            self._reranks.add(run_id)
            self._began[run_id] = time.perf_counter()

    @override
    def on_chain_end(self, outputs: dict[str, Any], *, run_id: UUID, **kwargs: Any) -> None:
        if run_id in self._reranks:
            self.reranking = time.perf_counter() - self._began[run_id]
            self.reranked = outputs["documents"]


def _ranked(document: Document, score: float | None) -> Ranked:
    return Ranked(str(document.id), document.metadata["topic"], document.page_content, score)
