"""The pipeline in LlamaIndex: `VectorStoreIndex`, `AnyRerank` as a node postprocessor, `RetrieverQueryEngine`."""

from __future__ import annotations

import time
from typing import Any

from anyrerank._core.client import Reranker
from anyrerank.demo.corpus import WORDS, paragraphs, topics
from anyrerank.demo.embedding import Lsa
from anyrerank.demo.pipeline import Outcome, Ranked, Settings
from anyrerank.errors import MissingExtraError

try:
    from llama_index.core import VectorStoreIndex
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload
    from llama_index.core.callbacks.base_handler import BaseCallbackHandler
    from llama_index.core.llms import MockLLM
    from llama_index.core.node_parser import SentenceSplitter
    from llama_index.core.query_engine import RetrieverQueryEngine
    from llama_index.core.schema import BaseNode, Document, NodeWithScore
except ImportError as error:
    raise MissingExtraError("the demo needs LlamaIndex: pip install 'anyrerank[demo]'") from error

from pydantic import PrivateAttr
from typing_extensions import override

from anyrerank.llama_index import AnyRerank


class LsaEmbedding(BaseEmbedding):
    """`Lsa` as a LlamaIndex embedding."""

    _lsa: Lsa = PrivateAttr()

    def __init__(self, lsa: Lsa) -> None:
        super().__init__(model_name="lsa")
        self._lsa = lsa

    @classmethod
    def class_name(cls) -> str:
        """The name in serialised indexes and traces."""
        return "LsaEmbedding"

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._lsa.vector(text)

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._lsa.vectors(texts)

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._lsa.vector(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._lsa.vector(query)


def nodes() -> list[BaseNode]:
    """The text as LlamaIndex nodes, with their topic as metadata that is neither embedded nor reranked."""
    # The splitter's own tokenizers would download files of tiktoken and NLTK.
    splitter = SentenceSplitter(
        chunk_size=WORDS, chunk_overlap=0, tokenizer=str.split, chunking_tokenizer_fn=paragraphs, include_metadata=True
    )
    return splitter.get_nodes_from_documents(
        [
            Document(text=text, metadata={"topic": topic}, excluded_embed_metadata_keys=["topic"])
            for topic, text in topics().items()
        ]
    )


class LlamaIndexPipeline:
    """Splits, embeds and stores the text when it is created.

    Args:
        lsa: The embedding.
        reranker: The reranker.
        settings: The numbers of passages.
    """

    framework = "LlamaIndex"
    steps = "VectorStoreIndex → RetrieverQueryEngine(AnyRerank) → prompt"

    def __init__(self, lsa: Lsa, reranker: Reranker, settings: Settings) -> None:
        self._recorder = _Recorder()
        callbacks = CallbackManager([self._recorder])
        start = time.perf_counter()
        index = VectorStoreIndex(nodes(), embed_model=LsaEmbedding(lsa), callback_manager=callbacks)
        self.indexing_seconds = time.perf_counter() - start
        self._engine = RetrieverQueryEngine.from_args(
            index.as_retriever(similarity_top_k=settings.candidates),
            llm=MockLLM(),  # its response is its prompt
            node_postprocessors=[AnyRerank(**settings.options(reranker))],
            callback_manager=callbacks,
        )

    def ask(self, question: str) -> Outcome:
        """Query the engine, whose response is the prompt for a language model."""
        response = self._engine.query(question)
        return Outcome(
            before=tuple(map(_ranked, self._recorder.nodes[CBEventType.RETRIEVE])),
            after=tuple(map(_ranked, response.source_nodes)),
            prompt=str(response),
            retrieval_seconds=self._recorder.seconds[CBEventType.RETRIEVE],
            reranking_seconds=self._recorder.seconds[CBEventType.RERANKING],
        )


class _Recorder(BaseCallbackHandler):
    """Records the nodes and the time of the last retrieval and the last reranking."""

    def __init__(self) -> None:
        super().__init__(event_starts_to_ignore=[], event_ends_to_ignore=[])
        self.nodes: dict[CBEventType, list[NodeWithScore]] = {}
        self.seconds: dict[CBEventType, float] = {}
        self._started: dict[str, float] = {}

    @override
    def on_event_start(
        self,
        event_type: CBEventType,
        payload: dict[str, Any] | None = None,
        event_id: str = "",
        parent_id: str = "",
        **kwargs: Any,
    ) -> str:
        self._started[event_id] = time.perf_counter()
        return event_id

    @override
    def on_event_end(
        self, event_type: CBEventType, payload: dict[str, Any] | None = None, event_id: str = "", **kwargs: Any
    ) -> None:
        seconds = time.perf_counter() - self._started.pop(event_id)
        if payload is not None and EventPayload.NODES in payload:
            self.nodes[event_type] = payload[EventPayload.NODES]
            self.seconds[event_type] = seconds

    @override
    def start_trace(self, trace_id: str | None = None) -> None:
        pass

    @override
    def end_trace(self, trace_id: str | None = None, trace_map: dict[str, list[str]] | None = None) -> None:
        pass


def _ranked(found: NodeWithScore) -> Ranked:
    return Ranked(found.node.node_id, found.node.metadata["topic"], found.node.get_content(), found.score)
