"""One call to one model."""

from anyrerank._core.engine.batching import Candidates, candidates
from anyrerank._core.engine.call import Call
from anyrerank._core.engine.deployment import Deployment
from anyrerank._core.engine.environment import connect, key_from_environment, provider_class, variable
from anyrerank._core.engine.options import (
    CONNECTION,
    Fuse,
    OnError,
    Options,
    ScoreMode,
    blanks,
    checked_documents,
    checked_query,
    identity,
    options_of,
)
from anyrerank._core.engine.ranking import order, results
from anyrerank._core.engine.retry import RetryPolicy, retryable, wait_before, within
from anyrerank._core.engine.score_cache import failed

__all__ = [
    "CONNECTION",
    "Call",
    "Candidates",
    "Deployment",
    "Fuse",
    "OnError",
    "Options",
    "RetryPolicy",
    "ScoreMode",
    "blanks",
    "candidates",
    "checked_documents",
    "checked_query",
    "connect",
    "failed",
    "identity",
    "key_from_environment",
    "options_of",
    "order",
    "provider_class",
    "results",
    "retryable",
    "variable",
    "wait_before",
    "within",
]
