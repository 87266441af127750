"""The dialect that most back ends speak: a query and a list of documents, back a list of rows with index and score.

A back end of this kind is a class of data. What differs between them is names: of fields, of the path, of usage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from typing_extensions import override

from anyrerank._core.types import Answer, Document, RerankRequest, texts_of
from anyrerank.providers._base.answers import dig, dollars, first_at, ranked, usage
from anyrerank.providers._base.provider import Provider
from anyrerank.providers._base.urls import endpoint

Used = Mapping[Literal["search_units", "total_tokens", "input_tokens", "output_tokens"], Sequence[str]]
"""Where an answer says what was used: for each number the places to look, the first that holds one wins."""

COHERE_USED: Used = MappingProxyType(
    {
        "search_units": ("meta.billed_units.search_units",),
        "total_tokens": ("meta.billed_units.total_tokens",),
        "input_tokens": ("meta.tokens.input_tokens",),
        "output_tokens": ("meta.tokens.output_tokens",),
    }
)
TOTAL_USED: Used = MappingProxyType({"total_tokens": ("usage.total_tokens",), "input_tokens": ("usage.total_tokens",)})
PROMPT_USED: Used = MappingProxyType(
    {"total_tokens": ("usage.total_tokens",), "input_tokens": ("usage.prompt_tokens", "usage.total_tokens")}
)


class CohereStyle(Provider):
    """Texts in, rows out; each class attribute is a name or a value on the wire."""

    operation: ClassVar[str] = "rerank"
    """End of the path."""
    root: ClassVar[str] = "/v1"
    """Goes before the operation, unless the base URL ends in a version."""
    documents_key: ClassVar[str] = "documents"
    top_n_key: ClassVar[str] = "top_n"
    top_n_needed: ClassVar[bool] = False
    """Whether the number of results is always sent, because the server's own default is small."""
    fixed: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """Sent with every request."""
    spelling: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Options that have another name on the wire."""
    rows: ClassVar[str] = "results"
    """Where the rows are in the answer, see `ranked`."""
    score_key: ClassVar[str] = "relevance_score"
    used: ClassVar[Used] = PROMPT_USED
    cost_at: ClassVar[tuple[str, ...]] = ()
    """Where an answer may say what it cost in US dollars."""

    @override
    def url(self, request: RerankRequest) -> str:
        return endpoint(self.base, self.operation, root=self.root)

    @override
    def body(self, request: RerankRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.connection.model,
            "query": request.query,
            self.documents_key: self.documents(request),
            **self.fixed,
            **{self.spelling.get(name, name): value for name, value in request.options.items()},
        }
        top_n = request.top_n or (len(request.documents) if self.top_n_needed else None)
        if top_n is not None:
            body[self.top_n_key] = top_n
        return body

    def documents(self, request: RerankRequest) -> Sequence[Document]:
        """The documents as they go out: by default their texts."""
        return texts_of(request)

    @override
    def parse_body(self, body: Any, request: RerankRequest) -> Answer:
        numbers = {name: first_at(body, paths) for name, paths in self.used.items()}
        meta = usage(**numbers, api_version=dig(body, "meta", "api_version"), warnings=dig(body, "meta", "warnings"))
        return Answer(
            scores=ranked(body, request, rows=self.rows, score=self.score_key),
            id=dig(body, "id"),
            meta=meta,
            cost=dollars(first_at(body, self.cost_at)),
        )
