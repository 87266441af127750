"""Latent semantic analysis: an embedding that is trained on the text itself within a second, without a download.

It is weaker than a neural embedding and works on the same principle: words that occur in the same contexts get similar
vectors (Deerwester et al., "Indexing by Latent Semantic Analysis", 1990).
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
    """Unit vectors by latent semantic analysis, the same in every run.

    Args:
        texts: The texts to train on.
        dimensions: Length of a vector.
    """

    def __init__(self, texts: Sequence[str], dimensions: int = DIMENSIONS) -> None:
        self._steps = make_pipeline(
            TfidfVectorizer(sublinear_tf=True, stop_words="english"),
            TruncatedSVD(dimensions, algorithm="arpack", random_state=0),
            Normalizer(copy=False),
        )
        # the matrices are small: more threads would not be faster, and slower on a busy machine
        with threadpool_limits(limits=1):
            self._steps.fit(texts)

    def vectors(self, texts: Sequence[str]) -> list[list[float]]:
        """Embed several texts."""
        vectors: list[list[float]] = self._steps.transform(texts).tolist()
        return vectors

    def vector(self, text: str) -> list[float]:
        """Embed one text.

        Raises:
            BadRequestError: None of its words occurs in the training texts.
        """
        (vector,) = self.vectors([text])
        if not any(vector):
            raise BadRequestError("no word of the question occurs in the demo's text, stop words such as 'the' aside")
        return vector
