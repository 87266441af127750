"""A small model for FastEmbed, and what it scores."""

from collections.abc import Callable, Sequence

QUERY = "Which city is the capital of Canada?"
DOCUMENTS = [
    "Lisbon is the capital of Portugal",
    "Sydney in Australia",
    "Ottawa is the capital of Canada",
    "the river",
]
ORDER = [2, 0, 3, 1]
Predict = Callable[[Sequence[str], Callable[[], list[float]]], list[float]]
