"""Latent semantic analysis: an embedding that is learnt from the text itself within a second, so it needs no download.

Weaker than a neural embedding, and of the same kind: it puts words that keep the same company close to each other
(Deerwester et al., "Indexing by Latent Semantic Analysis", 1990).
"""

from __future__ import annotations

from collections.abc import Sequence

from anyrerank.errors import BadRequestError, MissingExtraError

try:
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
except ImportError as error:
    raise MissingExtraError("the demo needs scikit-learn: pip install 'anyrerank[demo]'") from error

DIMENSIONS = 128


class Lsa:
    """Vectors of length 1, the same in every run.

    Args:
        texts: What the analysis learns from.
        dimensions: Length of a vector.
    """

    def __init__(self, texts: Sequence[str], dimensions: int = DIMENSIONS) -> None:
        self._steps = make_pipeline(
            TfidfVectorizer(sublinear_tf=True, stop_words="english"),
            TruncatedSVD(dimensions, algorithm="arpack", random_state=0),
            Normalizer(copy=False),
        )
        # The matrices are small: several threads of the linear algebra gain nothing, and wait long on a busy machine.
        with threadpool_limits(limits=1):
            self._steps.fit(texts)

    def vectors(self, texts: Sequence[str]) -> list[list[float]]:
        """The vector of each text."""
        found: list[list[float]] = self._steps.transform(texts).tolist()
        return found

    def vector(self, text: str) -> list[float]:
        """The vector of one text.

        Raises:
            BadRequestError: No word of it occurs in the texts that the analysis has seen.
        """
        (found,) = self.vectors([text])
        if not any(found):
            raise BadRequestError("none of the question's words (but for words like 'the') occurs in the demo's text")
        return found
