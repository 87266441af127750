"""The query of a call as its guardrails leave it."""

from __future__ import annotations

from collections.abc import Sequence

from anyrerank._core.engine.documents import checked_query
from anyrerank._core.runtime import Flow
from anyrerank.guardrails import Guardrail, guarded


def guarded_query(query: str, guardrails: Sequence[Guardrail]) -> Flow[str]:
    """`query` as the guardrails leave it.

    Raises:
        GuardrailRaisedError: A guardrail refused it or failed.
        BadRequestError: A guardrail returned a blank query.
    """
    if not guardrails:
        return query
    return checked_query((yield from guarded(query, guardrails)))
