"""The usage that a response reports."""

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator

from anyrerank._core.types.keyed import KeyedModel
from anyrerank._core.types.public import public


@public("anyrerank")
class BilledUnits(KeyedModel, extra="ignore"):
    """What the provider bills for; `None` where it reports nothing.

    Attributes:
        search_units: Each is one query with up to 100 documents, at most providers.
        total_tokens: Tokens of the query and the documents.
    """

    search_units: int | float | None = None
    total_tokens: int | float | None = None


@public("anyrerank")
class Tokens(KeyedModel, extra="ignore"):
    """Tokens that the provider read and wrote; `None` where it reports nothing."""

    input_tokens: int | float | None = None
    output_tokens: int | float | None = None


@public("anyrerank")
class Meta(KeyedModel, extra="ignore"):
    """The usage of a call, as far as the provider reports it.

    Attributes:
        api_version: As Cohere reports it: a mapping with `version`.
        billed_units: What the provider bills for.
        tokens: Tokens that it read and wrote.
        warnings: Messages of the provider, such as one about a text that it truncated.
        estimated: Whether the numbers are estimates, because the provider reports none.
    """

    api_version: Mapping[str, Any] | None = None
    billed_units: BilledUnits | None = None
    tokens: Tokens | None = None
    warnings: Annotated[tuple[str, ...], BeforeValidator(lambda value: () if value is None else value)] = ()
    estimated: bool = False


def default_search_units(documents: int) -> int:
    """Search units of a request, if the provider reports none: one for every 100 documents."""
    return math.ceil(documents / 100)


def reported_tokens(meta: Meta) -> int | float | None:
    """The billed tokens of a request, else the tokens that were read; `None` if the provider reports neither."""
    billed, tokens = meta.billed_units, meta.tokens
    return (billed and billed.total_tokens) or (tokens and tokens.input_tokens) or None
