"""The model and the number of rows of the runs."""

from __future__ import annotations

MODEL = "voyage/rerank-2.5"
ROWS = 25
