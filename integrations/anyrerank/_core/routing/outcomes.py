"""The estimated use of a call to an entry, and its outcome."""

from __future__ import annotations

import math
from collections.abc import Sequence

from anyrerank._core.engine import Call
from anyrerank._core.routing.failures import failure_of
from anyrerank._core.routing.groups import Entry, Group
from anyrerank._core.routing.state import Outcome
from anyrerank._core.routing.window import Need
from anyrerank._core.types import Answer, Attempt, prompt_of, reported_tokens, tokens_to_read
from anyrerank.errors import RerankError


def needs_of(call: Call, group: Group, *, counts_tokens: bool) -> dict[Entry, Need]:
    """Estimated requests and tokens of a call at each entry; tokens only if one has a limit of them."""
    documents, options = call.candidates.documents, call.options
    counted = counts_tokens or any(entry.terms.tpm for entry in group.entries)
    prompt = prompt_of(call.query, options.instruction)
    tokens = tokens_to_read(prompt, documents, options.rank_fields) if counted else 0
    sizes = [options.batch_size or entry.deployment.kind.documents_per_request for entry in group.entries]
    return {
        entry: Need(math.ceil(len(documents) / (size or len(documents))), tokens)
        for entry, size in zip(group.entries, sizes, strict=True)
    }


def outcome_of(
    attempts: Sequence[Attempt], need: Need, seconds: float, answer: Answer | None, error: RerankError | None
) -> Outcome:
    """The outcome of a call to an entry.

    Args:
        attempts: The attempts at this entry.
        need: The claimed need.
        seconds: Duration.
        answer: The answer, if there is one.
        error: The error, if it failed. Neither an answer nor an error means that it was cut off.
    """
    sent = len(attempts)
    is_complete = answer is not None or (error is not None and not sent)
    requests = sent if is_complete else max(sent, need.requests)
    return Outcome(
        seconds=seconds,
        requests=requests,
        tokens=_tokens(answer, requests),
        answered=answer is not None and sent > 0,
        failure=None if error is None else failure_of(error, sum(each.error is not None for each in attempts)),
    )


def _tokens(answer: Answer | None, requests: int) -> float | None:
    """The tokens that a call used; `None` to keep the estimate."""
    if not requests:
        return 0
    return None if answer is None else reported_tokens(answer.meta)
