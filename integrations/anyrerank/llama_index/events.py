"""Events of LlamaIndex's instrumentation around one rerank."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload
from llama_index.core.instrumentation.events.exception import ExceptionEvent
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index_instrumentation import get_dispatcher

from anyrerank._adapters import usage_of
from anyrerank._core.runtime import Flow
from anyrerank._core.types import RerankResponse, public

dispatcher = get_dispatcher("anyrerank.llama_index")


@public("anyrerank.llama_index")
class RerankUsageEvent(ReRankEndEvent):
    """The end of a rerank, with its usage. It is a `ReRankEndEvent`, so listeners for that class receive it too."""

    usage: dict[str, Any]
    """Tokens, search units, cost, attempts, provider, request id; no text. Unknown numbers are left out."""


def reported(
    rerank: Callable[[], Flow[tuple[RerankResponse, list[NodeWithScore]]]],
    *,
    callbacks: CallbackManager | None,
    nodes: list[NodeWithScore],
    query: QueryBundle,
    top_n: int,
    model: str,
) -> Flow[list[NodeWithScore]]:
    """Run `rerank`; listeners get a start, and then an end or an error.

    Args:
        rerank: Returns the flow that reranks.
        callbacks: The callback manager of the query engine; LlamaIndex does not check what is assigned.
        nodes: What is reranked.
        query: As the guardrails left it.
        top_n: How many nodes are wanted.
        model: `provider/model`, or a name in a router.
    """
    payload: dict[str, Any] = {
        EventPayload.NODES: list(nodes),
        EventPayload.MODEL_NAME: model,
        EventPayload.QUERY_STR: query.query_str,
        EventPayload.TOP_K: top_n,
    }
    dispatcher.event(ReRankStartEvent(query=query, nodes=list(nodes), top_n=top_n, model_name=model))
    try:
        with _callback_event(callbacks, payload) as end:
            response, ranked = yield from rerank()
            end(ranked)
    except BaseException as error:
        dispatcher.event(ExceptionEvent(exception=error))
        raise
    dispatcher.event(RerankUsageEvent(nodes=ranked, usage=usage_of(response)))
    return ranked


@contextmanager
def _callback_event(
    callbacks: CallbackManager | None, payload: dict[str, Any]
) -> Iterator[Callable[[list[NodeWithScore]], None]]:
    """A callback event, which ends when the function that this yields is called.

    Without handlers there is none: outside of a query engine, a manager never forgets the ids of its events.
    """
    if callbacks is None or not callbacks.handlers:
        yield lambda _: None
        return
    with callbacks.event(CBEventType.RERANKING, payload=payload) as event:
        yield lambda ranked: event.on_end(payload={EventPayload.NODES: ranked})
