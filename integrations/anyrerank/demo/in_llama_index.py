"""The pipeline in LlamaIndex: `VectorStoreIndex`, `AnyRerank` as a node postprocessor, `RetrieverQueryEngine`."""

from __future__ import annotations

import time
from typing import Any

from anyrerank._core.client import Reranker
from anyrerank.demo.corpus import WORDS, paragraphs, topics
from anyrerank.demo.embedding import Lsa
from anyrerank.demo.outcome import Outcome, Ranked, Setting
from anyrerank.errors import ConfigurationError

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
    raise ConfigurationError("the demo needs LlamaIndex: pip install 'anyrerank[demo]'") from error

from pydantic import PrivateAttr
from typing_extensions import override

from anyrerank.llama_index import AnyRerank


class LsaEmbedding(BaseEmbedding):
    """`Lsa` as LlamaIndex wants an embedding."""

    _lsa: Lsa = PrivateAttr()

    def __init__(self, lsa: Lsa) -> None:
        super().__init__(model_name="lsa")
        self._lsa = lsa

    @classmethod
    def class_name(cls) -> str:
        """Name in dumps and traces."""
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
    """The text as LlamaIndex's nodes, with their topic as metadata that is neither embedded nor ranked."""
    # Words and paragraphs are counted here, because the splitter's own ways read files of tiktoken and nltk.
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
    """Splits, embeds and stores the text when it is made.

    Args:
        lsa: The embedding.
        reranker: The model, connected.
        setting: What is run.
    """

    framework = "LlamaIndex"
    steps = "VectorStoreIndex → RetrieverQueryEngine(AnyRerank) → prompt"

    def __init__(self, lsa: Lsa, reranker: Reranker, setting: Setting) -> None:
        self._watch = _Watch()
        callbacks = CallbackManager([self._watch])
        began = time.perf_counter()
        index = VectorStoreIndex(nodes(), embed_model=LsaEmbedding(lsa), callback_manager=callbacks)
        self.indexing = time.perf_counter() - began
        self._engine = RetrieverQueryEngine.from_args(
            index.as_retriever(similarity_top_k=setting.candidates),
            llm=MockLLM(),  # answers with its prompt
            node_postprocessors=[AnyRerank(**setting.options(reranker))],
            callback_manager=callbacks,
        )

    def ask(self, question: str) -> Outcome:
        """Query the engine, whose language model answers with what it is sent."""
        response = self._engine.query(question)
        return Outcome(
            before=tuple(map(_ranked, self._watch.nodes[CBEventType.RETRIEVE])),
            after=tuple(map(_ranked, response.source_nodes)),
            prompt=str(response),
            retrieval=self._watch.seconds[CBEventType.RETRIEVE],
            reranking=self._watch.seconds[CBEventType.RERANKING],
        )


class _Watch(BaseCallbackHandler):
    """Sees the nodes that the last retrieval and the last rerank gave, and how long each took."""

    def __init__(self) -> None:
        super().__init__(event_starts_to_ignore=[], event_ends_to_ignore=[])
        self.nodes: dict[CBEventType, list[NodeWithScore]] = {}
        self.seconds: dict[CBEventType, float] = {}
        self._began: dict[str, float] = {}

    @override
    def on_event_start(
        self,
        event_type: CBEventType,
        payload: dict[str, Any] | None = None,
        event_id: str = "",
        parent_id: str = "",
        **kwargs: Any,
    ) -> str:
        self._began[event_id] = time.perf_counter()
        return event_id

    @override
    def on_event_end(
        self, event_type: CBEventType, payload: dict[str, Any] | None = None, event_id: str = "", **kwargs: Any
    ) -> None:
        seconds = time.perf_counter() - self._began.pop(event_id)
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
