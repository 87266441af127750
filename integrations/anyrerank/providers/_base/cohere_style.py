"""The dialect of most providers: a query and a list of documents in, a list of results with index and score out.

Such a provider is a class of data: only names and paths differ.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from typing_extensions import override

from anyrerank._core.types import Answer, Document, RerankRequest, public, texts_of
from anyrerank.providers._base.answers import dig, dollars, first_at, ranked, spans_in, usage
from anyrerank.providers._base.provider import Provider
from anyrerank.providers._base.urls import endpoint

UsagePaths = Mapping[Literal["search_units", "total_tokens", "input_tokens", "output_tokens"], Sequence[str]]
"""Paths of the usage in an answer: for each number its possible paths; the first with a value is used."""

COHERE_USAGE: UsagePaths = MappingProxyType(
    {
        "search_units": ("meta.billed_units.search_units",),
        "total_tokens": ("meta.billed_units.total_tokens", "meta.billed_units.input_tokens"),
        "input_tokens": ("meta.tokens.input_tokens",),
        "output_tokens": ("meta.tokens.output_tokens",),
    }
)
TOTAL_USAGE: UsagePaths = MappingProxyType(
    {"total_tokens": ("usage.total_tokens",), "input_tokens": ("usage.total_tokens",)}
)
PROMPT_USAGE: UsagePaths = MappingProxyType(
    {"total_tokens": ("usage.total_tokens",), "input_tokens": ("usage.prompt_tokens", "usage.total_tokens")}
)


def truncate_word(value: Any) -> Any:
    """`"END"` for True and `"NONE"` for False; other values are returned unchanged."""
    return ("END" if value else "NONE") if isinstance(value, bool) else value


@public("anyrerank.providers")
class CohereStyle(Provider):
    """A provider that takes texts and returns results with index and score; each attribute is a name on the wire."""

    operation: ClassVar[str] = "rerank"
    """The last part of the path."""
    root: ClassVar[str] = "/v1"
    """The part before it, unless the base URL ends in a version."""
    documents_key: ClassVar[str] = "documents"
    """Name of the documents."""
    top_n_key: ClassVar[str] = "top_n"
    """Name of the number of results."""
    top_n_required: ClassVar[bool] = False
    """Whether the number of results is always sent, for a server whose default is small."""
    constants: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """Fields that are sent with every request."""
    option_names: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Options whose name in the request is another one, with that name."""
    rows: ClassVar[str] = "results"
    """Path of the results in the answer, as `ranked` takes it."""
    score_key: ClassVar[str] = "relevance_score"
    """Name of the score in a result."""
    usage_paths: ClassVar[UsagePaths] = PROMPT_USAGE
    """Paths of the usage in the answer."""
    cost_paths: ClassVar[tuple[str, ...]] = ()
    """Paths at which the answer may report the cost in US dollars."""

    @override
    def url(self, request: RerankRequest) -> str:
        return endpoint(self.base, self.operation, root=self.root)

    @override
    def body(self, request: RerankRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.connection.model,
            "query": request.query,
            self.documents_key: self.documents(request),
            **self.constants,
            **{self.option_names.get(name, name): value for name, value in request.options.items()},
        }
        top_n = request.top_n or (len(request.documents) if self.top_n_required else None)
        if top_n is not None:
            body[self.top_n_key] = top_n
        if "relevant_spans" in request.options:
            body["relevant_spans"] = self._spans_wanted(request.options["relevant_spans"])
        return body

    def _spans_wanted(self, given: Any) -> dict[str, Any]:
        """The value of `relevant_spans` as the API takes it."""
        if isinstance(given, bool):
            return {"mode": "enabled" if given else "disabled"}
        if not isinstance(given, Mapping):
            raise self.bad_request(
                "relevant_spans must be True or a mapping such as {'threshold': 0.1, 'max_spans': 3}, "
                f"got a value of type {type(given).__name__}"
            )
        return {"mode": "enabled", **given}

    def documents(self, request: RerankRequest) -> Sequence[Document]:
        """The documents as they are sent: by default their texts."""
        return texts_of(request)

    @override
    def parse_body(self, body: Any, request: RerankRequest) -> Answer:
        numbers = {name: first_at(body, paths) for name, paths in self.usage_paths.items()}
        meta = usage(**numbers, api_version=dig(body, "meta", "api_version"), warnings=dig(body, "meta", "warnings"))
        return Answer(
            scores=ranked(body, request, rows=self.rows, score=self.score_key),
            spans=spans_in(body, request, rows=self.rows),
            id=dig(body, "id"),
            meta=meta,
            cost=dollars(first_at(body, self.cost_paths)),
        )
