"""`Reranker`, `Router` and the functions."""
