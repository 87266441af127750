"""Rerankers with a cache over a wire that scores each document by the number at its end."""

from __future__ import annotations

TEXTS = ["a 0.1", "b 0.9", "c 0.5"]
