"""Listeners that keep what LangChain and LlamaIndex tell them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from llama_index.core.instrumentation.events.exception import ExceptionEvent
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index_instrumentation.event_handlers.base import BaseEventHandler
from pydantic import Field


@dataclass
class Seen:
    """The events that a handler got, in order."""

    calls: list[tuple[str, UUID, UUID | None, dict[str, Any]]] = field(default_factory=list)

    def note(self, name: str, values: dict[str, Any]) -> None:
        self.calls.append((name, values["run_id"], values.get("parent_run_id"), values))

    @property
    def names(self) -> list[str]:
        return [name for name, *_ in self.calls]

    @property
    def runs(self) -> set[UUID]:
        return {run_id for _, run_id, *_ in self.calls}

    def values(self, name: str) -> dict[str, Any]:
        (found,) = [values for each, _, _, values in self.calls if each == name]
        return found


class Recorder(BaseCallbackHandler):
    """Keeps the events of LangChain's chains and retrievers."""

    def __init__(self) -> None:
        self.seen = Seen()

    def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
        self.seen.note("start", {"inputs": inputs, **kwargs})

    def on_chain_end(self, outputs: Any, **kwargs: Any) -> None:
        self.seen.note("end", {"outputs": outputs, **kwargs})

    def on_chain_error(self, error: BaseException, **kwargs: Any) -> None:
        self.seen.note("error", {"error": error, **kwargs})

    def on_custom_event(self, name: str, data: Any, **kwargs: Any) -> None:
        self.seen.note(name, {"data": data, **kwargs})

    def on_retriever_start(self, serialized: Any, query: str, **kwargs: Any) -> None:
        self.seen.note("retriever start", {"query": query, **kwargs})

    def on_retriever_end(self, documents: Any, **kwargs: Any) -> None:
        self.seen.note("retriever end", {"documents": documents, **kwargs})


class Events(BaseEventHandler):
    """Keeps the events of LlamaIndex's instrumentation."""

    seen: list[Any] = Field(default_factory=list)

    @classmethod
    def class_name(cls) -> str:
        return "Events"

    def handle(self, event: Any, **kwargs: Any) -> None:
        self.seen.append(event)

    @property
    def ours(self) -> list[Any]:
        kinds = ReRankStartEvent | ReRankEndEvent | ExceptionEvent
        return [event for event in self.seen if isinstance(event, kinds)]

    @property
    def names(self) -> list[str]:
        return [type(event).__name__ for event in self.ours]
