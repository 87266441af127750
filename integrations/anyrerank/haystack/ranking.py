"""The fields of `AnyRerank`, and one rerank with them."""

from functools import partial
from typing import Any

from haystack import Document as HaystackDocument
from pydantic import ConfigDict, Field

from anyrerank._adapters import RerankFields
from anyrerank._core.client import BaseReranker, add_documents, adriven, completed, driven, guarded, prepared
from anyrerank._core.engine import Call
from anyrerank._core.runtime import Flow
from anyrerank.errors import RerankError
from anyrerank.haystack.documents import TextFunction, scored, texts_of


class Ranking(RerankFields):
    """Reranks Haystack documents; a component cannot be a pydantic model itself."""

    model_config = ConfigDict(extra="forbid")

    text_fn: TextFunction | None = Field(default=None, exclude=True, repr=False)
    """Returns the text to rank for a document; by default its content."""

    def reranked(self, documents: list[HaystackDocument], query: str, top_n: int | None) -> list[HaystackDocument]:
        """The documents, best first; `top_n` overrides the field."""
        core, call = self._prepared(query, top_n)
        return driven(core, call, self._ranked(core, call, documents))

    async def areranked(
        self, documents: list[HaystackDocument], query: str, top_n: int | None
    ) -> list[HaystackDocument]:
        """`reranked`, on the running event loop."""
        core, call = self._prepared(query, top_n)
        return await adriven(core, call, self._ranked(core, call, documents))

    def dumped(self) -> dict[str, Any]:
        """The fields that differ from their defaults, as JSON.

        Raises:
            ConfigurationError: See `check_dumpable`.
        """
        self.check_dumpable()
        fields = type(self).model_fields
        written = self.model_dump(mode="json")
        return {name: value for name, value in written.items() if getattr(self, name) != fields[name].default}

    def _prepared(self, query: str, top_n: int | None) -> tuple[BaseReranker, Call]:
        core = self._core()
        return core, prepared(core, query, self._overrides(core, {} if top_n is None else {"top_n": top_n}))

    def _ranked(
        self, core: BaseReranker, call: Call, documents: list[HaystackDocument]
    ) -> Flow[list[HaystackDocument]]:
        yield from guarded(call)
        if call.error is None:
            texts = partial(
                texts_of, text_fn=self.text_fn, rank_fields=call.options.rank_fields, images=core.accepts_images
            )
            try:
                add_documents(core, call, texts(documents), [document.id for document in documents])
            except RerankError as error:
                call.refuse(error)
        response = yield from completed(core, call)
        return scored(documents, response, keep_retrieval_score=self.keep_retrieval_score, model_key=self.model_key)
