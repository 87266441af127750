"""The fingerprint of a job: everything that its results depend on, so that those of two jobs never mix."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from anyrerank._core.client import BaseReranker, deployment_names, identity_of
from anyrerank.batch.rows import Columns


def fingerprint_of(
    reranker: BaseReranker, columns: Columns, *, chunk_rows: int, shards: int, via: str
) -> dict[str, Any]:
    """The facts by name, as JSON. There is no key among them, and instructions are in a digest only."""
    options = reranker.options
    guardrails = [getattr(each, "__qualname__", type(each).__qualname__) for each in options.guardrails]
    names = deployment_names(reranker)
    return {
        "model": reranker.deployment,
        **({"models": names} if len(names) > 1 else {}),
        "top_n": options.top_n,
        "score_threshold": options.score_threshold,
        "score_mode": options.score_mode,
        "rank_fields": None if options.rank_fields is None else list(options.rank_fields),
        "max_tokens_per_doc": options.max_tokens_per_doc,
        "guardrails": guardrails,
        **columns.names,
        "chunk_rows": chunk_rows,
        "shards": shards,
        **({} if via == "requests" else {"via": via}),
        "base URL or options (as a digest)": _digest(identity_of(reranker)),
    }


def _digest(found: object) -> str:
    return blake2b(repr(found).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
