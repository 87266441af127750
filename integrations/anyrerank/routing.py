"""Which model is asked, and which next when it fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from anyrerank.errors import BadRequestError, FallbackError, RerankError
from anyrerank.flow import Flow
from anyrerank.schema import Attempt

T = TypeVar("T")

Start = Callable[[float | None], Flow[T]]
"""Makes the flow of one model, given the deadline it has."""


def first_success(
    starts: Sequence[Start[T]],
    *,
    deadline: float | None,
    clock: Callable[[], float],
    attempts: Sequence[Attempt],
) -> Flow[T]:
    """What the first model answers that does not fail; each has an equal share of the time that is left.

    Args:
        starts: One for each model, in the order in which they are tried.
        deadline: When everything must be over.
        clock: The clock of `deadline`.
        attempts: What was tried so far, for the error.

    Raises:
        RerankError: The only model failed, or one failed in a way that no other would survive. What a later model
            cannot take, before anything is sent, is no reason: the call itself got past the first one.
        FallbackError: All of several models failed.
    """
    errors: list[RerankError] = []
    for number, start in enumerate(starts):
        share = None if deadline is None else clock() + max(0.0, deadline - clock()) / (len(starts) - number)
        try:
            return (yield from start(share))
        except RerankError as error:
            of_this_model = number > 0 and type(error) is BadRequestError and error.status_code is None
            if len(starts) == 1 or not (error.moves_on or of_this_model):
                raise
            errors.append(error)
    raise FallbackError(
        "every model failed: " + "; ".join(f"{type(error).__name__}: {error.message}" for error in errors),
        errors=tuple(errors),
        attempts=tuple(attempts),
    )
