"""What the provider says it used and bills for."""

import math
from collections.abc import Mapping
from typing import Any

from anyrerank._core.types.keyed import Value
from anyrerank._core.types.public import public


@public("anyrerank")
class BilledUnits(Value):
    """What the provider says it bills for; a number it did not give is `None`."""

    search_units: int | float | None = None
    total_tokens: int | float | None = None


@public("anyrerank")
class Tokens(Value):
    """Tokens the provider says it read and wrote."""

    input_tokens: int | float | None = None
    output_tokens: int | float | None = None


@public("anyrerank")
class Meta(Value):
    """Usage and remarks. `estimated` is true when a number was computed here because the provider gives none."""

    api_version: Mapping[str, Any] | None = None
    billed_units: BilledUnits | None = None
    tokens: Tokens | None = None
    warnings: tuple[str, ...] = ()
    estimated: bool = False


def usual_units(documents: int) -> int:
    """Search units of so many documents where the provider counts none: one for each 100, the least that is billed."""
    return math.ceil(documents / 100)
