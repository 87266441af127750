"""Usage and billed units."""

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator

from anyrerank._core.types.keyed import Value
from anyrerank._core.types.public import public


@public("anyrerank")
class BilledUnits(Value, extra="ignore"):
    """What the provider bills for; `None` where it reports nothing."""

    search_units: int | float | None = None
    total_tokens: int | float | None = None


@public("anyrerank")
class Tokens(Value, extra="ignore"):
    """Tokens that the provider read and wrote; `None` where it reports nothing."""

    input_tokens: int | float | None = None
    output_tokens: int | float | None = None


@public("anyrerank")
class Meta(Value, extra="ignore"):
    """Usage, and warnings of the provider. `estimated` marks numbers that the provider does not report."""

    api_version: Mapping[str, Any] | None = None
    billed_units: BilledUnits | None = None
    tokens: Tokens | None = None
    warnings: Annotated[tuple[str, ...], BeforeValidator(lambda value: () if value is None else value)] = ()
    estimated: bool = False


def usual_units(documents: int) -> int:
    """Search units of a number of documents, if the provider reports none: one for each 100."""
    return math.ceil(documents / 100)
