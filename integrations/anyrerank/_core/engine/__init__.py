"""One call to one model: options, environment, documents, batches, retries and cached scores."""

from anyrerank._core.engine.ask import Plan, ask, is_cached, planned
from anyrerank._core.engine.call import Call
from anyrerank._core.engine.candidates import candidates, identity_key
from anyrerank._core.engine.deployment import Deployment
from anyrerank._core.engine.documents import all_text, blanks, checked_documents, checked_query
from anyrerank._core.engine.environment import connect, key_from_environment, provider_class, split_model
from anyrerank._core.engine.guarding import guarded_options, guarded_query
from anyrerank._core.engine.keywords import CallKeywords, ConnectionKeywords, KeywordOnly, RouterCallKeywords
from anyrerank._core.engine.options import CONNECTION, Fuse, Options, RerankerOptions
from anyrerank._core.engine.parsing import (
    ALIASES,
    merged,
    parse_options,
    problem,
    shown,
    two_values,
    unknown_option,
    without_aliases,
)
from anyrerank._core.engine.provider_options import option_names, provider_options
from anyrerank._core.engine.ranking import order
from anyrerank._core.engine.retry import RetryPolicy, causes, is_final, retryable, wait_before
from anyrerank._core.engine.score_cache import warn_once
from anyrerank._core.engine.signatures import lists_options
from anyrerank._core.engine.slots import Slots

__all__ = [
    "ALIASES",
    "CONNECTION",
    "Call",
    "CallKeywords",
    "ConnectionKeywords",
    "Deployment",
    "Fuse",
    "KeywordOnly",
    "Options",
    "Plan",
    "RerankerOptions",
    "RetryPolicy",
    "RouterCallKeywords",
    "Slots",
    "all_text",
    "ask",
    "blanks",
    "candidates",
    "causes",
    "checked_documents",
    "checked_query",
    "connect",
    "guarded_options",
    "guarded_query",
    "identity_key",
    "is_cached",
    "is_final",
    "key_from_environment",
    "lists_options",
    "merged",
    "option_names",
    "order",
    "parse_options",
    "planned",
    "problem",
    "provider_class",
    "provider_options",
    "retryable",
    "shown",
    "split_model",
    "two_values",
    "unknown_option",
    "wait_before",
    "warn_once",
    "without_aliases",
]
