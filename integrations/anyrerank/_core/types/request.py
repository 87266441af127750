"""What is sent to a provider in one request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from anyrerank._core.types.documents import Document


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankRequest:
    """What is sent to a provider in one request.

    Attributes:
        query: Not blank.
        documents: Not empty, none of them blank.
        top_n: How many results are needed, between 1 and the number of documents, or `None` for all of them.
        rank_fields: Fields of mapping documents to rank on, in order.
        options: Options that the provider declares; none is `None`.
        extra_body: Merged into the JSON of the request.
    """

    query: str = field(repr=False)
    documents: Sequence[Document] = field(repr=False)
    top_n: int | None = None
    rank_fields: tuple[str, ...] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    extra_body: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def prompt(self) -> str:
        """What a model reads with each document."""
        return prompt_of(self.query, self.options.get("instruction"))


def prompt_of(query: str, instruction: object) -> str:
    """What a model reads with each document: the query, and the instruction if there is one."""
    return f"{instruction} {query}" if isinstance(instruction, str) else query
