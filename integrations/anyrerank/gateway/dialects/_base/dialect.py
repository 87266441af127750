"""The base class of a dialect: how one family of clients writes requests and reads answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from anyrerank._core.types import Document
from anyrerank.gateway.dialects._base.fields import Fields
from anyrerank.gateway.errors import GatewayError


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedRequest:
    """A request, independent of its dialect.

    Attributes:
        query: Not blank.
        documents: Strings and objects.
        model: The name that the client gave, or `None`.
        other_names: Names to try if there is no such model, such as those in the path.
        top_n: How many results the client wants, or `None` for all.
        with_documents: Whether the client wants its documents back.
        unit_scores: Whether the client wants scores from 0 to 1.
        user: The end user that the body names.
        options: Options that not every vendor has, such as `instruction`.
        settings: Options of any call: `rank_fields` and `timeout`, and `cache` if there shall be none.
        fallbacks: Names of models to ask if this one fails; `None` for those of the configuration.
        ignored: Names of fields that mean nothing to this dialect.
        guardrails: Names of guardrails for the call; every dialect may have them.
        no_store: Whether the cache must not store the scores.
    """

    query: str = field(repr=False)
    documents: Sequence[Document] = field(repr=False)
    model: str | None = None
    other_names: tuple[str, ...] = ()
    top_n: int | None = None
    with_documents: bool = False
    unit_scores: bool = False
    user: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    fallbacks: Sequence[str] | None = None
    ignored: tuple[str, ...] = ()
    guardrails: tuple[str, ...] = ()
    no_store: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedAnswer:
    """An answer of the router, in which every result has a number.

    Attributes:
        id: The id of the answer.
        model: The name that the client asked for, or the default.
        rows: (index, score) of each result, best first.
        documents: Those of the request.
        tokens: Tokens that the provider read, as far as it said, else 0.
        search_units: Search units that were billed, or `None` if the provider does not count them.
        request_id: The id of the request.
    """

    id: str
    model: str
    rows: Sequence[tuple[int, float]]
    documents: Sequence[Document] = field(repr=False)
    tokens: int
    search_units: int | float | None
    request_id: str

    def texts(self) -> Iterator[tuple[int, float, str]]:
        """(index, score, text) of each result."""
        return ((index, score, text_in(self.documents[index])) for index, score in self.rows)


def text_in(document: Document) -> str:
    """A document where a client can read nothing but a string: an image has none."""
    text = document if isinstance(document, str) else document.get("text")
    return text if isinstance(text, str) else ""


class Dialect(ABC):
    """The requests and the answers of one family of clients.

    Attributes:
        name: For metrics and logs.
        paths: Where it is served. `{name}` matches one segment of the path or several.
        info_paths: Where it tells about a model, to GET requests; `{model}` as in `paths`.
        key_checks: Where clients ask, before they send their key, whether one is needed.
        shared: Whether a body on these paths may be in another dialect, which `recognises` it.
        statuses: HTTP statuses that differ from those of `GatewayError`, by kind.
    """

    name: ClassVar[str]
    paths: ClassVar[Sequence[str]] = ()
    info_paths: ClassVar[Sequence[str]] = ()
    key_checks: ClassVar[Sequence[str]] = ()
    shared: ClassVar[bool] = False
    statuses: ClassVar[Mapping[str, int]] = {}

    def recognises(self, body: Mapping[str, Any]) -> bool:
        """Whether a body on a path that several dialects share is in this one."""
        return False

    @abstractmethod
    def read(self, fields: Fields, path: Mapping[str, str]) -> ParsedRequest:
        """The request in a body.

        Args:
            fields: Those of the body.
            path: The parameters in the path.

        Raises:
            GatewayError: The body is wrong.
        """

    @abstractmethod
    def answer(self, asked: ParsedRequest, ranked: RankedAnswer) -> Any:
        """The body of an answer, for `json.dumps`."""

    def model_info(self, route: str, model: str, max_documents: int) -> Any:
        """What it tells about a model.

        Args:
            route: One of `info_paths`.
            model: The name of the model.
            max_documents: How many documents a request may have.
        """
        raise NotImplementedError

    def key_check(self, *, needed: bool) -> Any:
        """What it answers to a client that asks whether a key is needed."""
        raise NotImplementedError

    def error(self, error: GatewayError, status: int, request_id: str) -> Any:
        """The body of an error; by default the one that is read by clients whose vendor has no shape of its own."""
        return {"detail": error.message, "message": error.message}
