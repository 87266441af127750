"""Events of LlamaIndex's instrumentation around one rerank."""

from collections.abc import Callable
from typing import Any

from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload
from llama_index.core.instrumentation.events.exception import ExceptionEvent
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.base import BaseEvent

from anyrerank._adapters import usage_of
from anyrerank._core.runtime import Flow
from anyrerank._core.types import RerankResponse, public

dispatcher = get_dispatcher("anyrerank.llama_index")


@public("anyrerank.llama_index")
class RerankUsageEvent(BaseEvent):
    """What a rerank used: tokens, search units, cost, attempts, provider, request id. It holds no text."""

    usage: dict[str, Any]

    @classmethod
    def class_name(cls) -> str:
        """Name in traces."""
        return "RerankUsageEvent"


def reported(
    rerank: Callable[[], Flow[tuple[RerankResponse, list[NodeWithScore]]]],
    *,
    callbacks: CallbackManager,
    nodes: list[NodeWithScore],
    query: QueryBundle,
    top_n: int,
    model: str,
) -> Flow[list[NodeWithScore]]:
    """The nodes that `rerank` gives, with a start and an end, or an error, for every listener.

    Args:
        rerank: Makes the flow.
        callbacks: Of the query engine.
        nodes: What is reranked.
        query: As the guardrails left it.
        top_n: How many nodes are wanted.
        model: Who is asked.
    """
    payload: dict[str, Any] = {
        EventPayload.NODES: list(nodes),
        EventPayload.MODEL_NAME: model,
        EventPayload.QUERY_STR: query.query_str,
        EventPayload.TOP_K: top_n,
    }
    dispatcher.event(ReRankStartEvent(query=query, nodes=list(nodes), top_n=top_n, model_name=model))
    try:
        with callbacks.event(CBEventType.RERANKING, payload=payload) as event:
            response, ranked = yield from rerank()
            event.on_end(payload={EventPayload.NODES: ranked})
    except BaseException as error:
        dispatcher.event(ExceptionEvent(exception=error))
        raise
    dispatcher.event(RerankUsageEvent(usage=usage_of(response)))
    dispatcher.event(ReRankEndEvent(nodes=ranked))
    return ranked
