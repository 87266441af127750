"""Guardrails of a call."""

from __future__ import annotations

from collections.abc import Sequence

from anyrerank._core.engine.documents import checked_query
from anyrerank._core.engine.options import Options
from anyrerank._core.runtime import Flow
from anyrerank.guardrails import Guardrail, guarded


def guarded_query(query: str, guardrails: Sequence[Guardrail]) -> Flow[str]:
    """Pass `query` through the guardrails.

    Raises:
        GuardrailRaisedError: A guardrail refused the query or failed.
        BadRequestError: A guardrail returned a blank query.
    """
    if not guardrails:
        return query
    return checked_query((yield from guarded(query, guardrails)))


def guarded_options(options: Options) -> Flow[Options]:
    """Pass the instruction, if there is one, through the guardrails that check it too.

    Raises:
        GuardrailRaisedError: A guardrail refused the instruction or failed.
    """
    guardrails = [each for each in options.guardrails if getattr(each, "checks_instruction", False)]
    if options.instruction is None or not guardrails:
        return options
    return options.model_copy(update={"instruction": (yield from guarded(options.instruction, guardrails))})
