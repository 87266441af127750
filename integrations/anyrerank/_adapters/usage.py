"""The usage of a call, for traces."""

from __future__ import annotations

from typing import Any

from anyrerank._core.types import RerankResponse


def usage_of(response: RerankResponse) -> dict[str, Any]:
    """Numbers and ids of a call, without any text; unknown numbers are left out."""
    billed, tokens = response.meta.billed_units, response.meta.tokens
    known = {
        "search_units": billed and billed.search_units,
        "total_tokens": billed and billed.total_tokens,
        "input_tokens": tokens and tokens.input_tokens,
        "output_tokens": tokens and tokens.output_tokens,
        "total_cost": response.cost,
        "cached": response.cached or None,
        "saved": response.saved if response.cached else None,
        "model_group": response.model_group,
        "request_id": response.request_id,
    }
    return {
        "provider": response.provider,
        "model": response.model,
        "latency": response.latency,
        "attempts": len(response.attempts),
        "degraded": response.degraded,
        **{name: value for name, value in known.items() if value is not None},
    }
