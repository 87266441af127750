"""One rerank as a traced LangChain run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from langchain_core.callbacks import AsyncCallbackManagerForChainRun, CallbackManagerForChainRun
from langchain_core.documents import Document as LangChainDocument
from langchain_core.runnables import RunnableConfig, ensure_config
from langchain_core.runnables.config import get_async_callback_manager_for_config, get_callback_manager_for_config

from anyrerank._adapters import usage_of
from anyrerank._core.client import BaseReranker
from anyrerank._core.runtime import Flow, Invoke
from anyrerank._core.types import RerankResponse

Ranked = tuple[RerankResponse, list[LangChainDocument]]


@dataclass(frozen=True, slots=True)
class Trace:
    """The run of one rerank, not started yet.

    Attributes:
        manager: The callback manager of the call.
        run: The run that `manager` starts.
        name: Name of the run.
        run_type: `None` for a chain.
        content: Whether the run holds texts, or ids and lengths only.
    """

    manager: Any
    run: Any
    name: str
    run_type: str | None
    content: bool

    @property
    def end_user(self) -> str | None:
        """The `user_id` in the metadata of the run, if it is a string, an int or a UUID."""
        user = self.manager.metadata.get("user_id")
        usable = isinstance(user, str | int | UUID) and not isinstance(user, bool)
        return str(user) if usable else None

    def around(
        self, query: str, documents: Sequence[LangChainDocument], rerank: Callable[[], Flow[Ranked]]
    ) -> Flow[list[LangChainDocument]]:
        """Run `rerank` inside the trace, which always ends.

        Args:
            query: The query that the guardrails returned; empty if they refused it.
            documents: The documents that are reranked.
            rerank: Returns the flow that reranks.
        """
        inputs = self._shown(documents, query)
        start = self.manager.on_chain_start
        try:
            yield Invoke(lambda: start(None, inputs, name=self.name, run_type=self.run_type, run_id=self.run.run_id))
            response, ranked = yield from rerank()
            usage = usage_of(response)
            if self.run.handlers:
                event = self.run.get_child().on_custom_event
                yield Invoke(lambda: event("anyrerank.usage", usage, run_id=self.run.run_id))
        except BaseException as error:
            failure = error
            yield Invoke(lambda: self.run.on_chain_error(failure))
            raise
        if self.run.handlers:
            outputs = {**self._shown(ranked), "usage": usage}
            yield Invoke(lambda: self.run.on_chain_end(outputs))
        return ranked

    def _shown(self, documents: Sequence[LangChainDocument], query: str | None = None) -> dict[str, Any]:
        if self.content:
            return {"documents": list(documents), **({} if query is None else {"query": query})}
        shown = [{"id": document.id, "length": len(document.page_content)} for document in documents]
        return {"documents": shown, **({} if query is None else {"query_length": len(query)})}


def trace_of(
    core: BaseReranker,
    config: RunnableConfig | None,
    *,
    asynchronous: bool,
    name: str,
    run_type: str | None,
    content: bool,
    top_n: int | None,
) -> Trace:
    """The trace of a rerank with `core`, nested under the run in `config`, or under the current one."""
    config = ensure_config(config)
    config["tags"] = [*(config.get("tags") or []), "anyrerank", f"provider:{core.provider}"]
    about: Mapping[str, Any] = {"rerank_model": core.deployment, **({} if top_n is None else {"rerank_top_n": top_n})}
    config["metadata"] = {**(config.get("metadata") or {}), **about}
    configure = get_async_callback_manager_for_config if asynchronous else get_callback_manager_for_config
    manager: Any = configure(config)
    run = _run_of(manager, config.get("run_id"), asynchronous=asynchronous)
    return Trace(manager, run, config.get("run_name") or name, run_type, content)


def _run_of(manager: Any, run_id: UUID | None, *, asynchronous: bool) -> Any:
    """The run that `manager.on_chain_start` starts, created before, so that it can end if the start is interrupted."""
    kind = AsyncCallbackManagerForChainRun if asynchronous else CallbackManagerForChainRun
    return kind(
        run_id=run_id or kind.get_noop_manager().run_id,
        handlers=manager.handlers,
        inheritable_handlers=manager.inheritable_handlers,
        parent_run_id=manager.parent_run_id,
        tags=manager.tags,
        inheritable_tags=manager.inheritable_tags,
        metadata=manager.metadata,
        inheritable_metadata=manager.inheritable_metadata,
    )
