"""`fake_provider`: a provider that answers inside the process."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, get_args

from typing_extensions import override

from anyrerank._core.runtime import Flow
from anyrerank._core.types import Answer, RerankRequest, Scale, public
from anyrerank.errors import APIResponseValidationError, RerankError, class_for_status
from anyrerank.providers import Provider, texts_of, usage
from anyrerank.testing.failures import Failures
from anyrerank.testing.scores import Score, Scores, overlap, score_function


@public("anyrerank.testing")
@dataclass(frozen=True, slots=True, kw_only=True)
class FakeCall:
    """One request that a fake provider got.

    Attributes:
        model: Model without the prefix.
        query: The query, after guardrails.
        documents: Their texts. Blank documents, and those whose scores are cached, are not sent.
        top_n: Number of results that are needed; `None` for all.
        options: The provider's options, such as `instruction`.
    """

    model: str
    query: str = field(repr=False)
    documents: Sequence[str] = field(repr=False)
    top_n: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Behaviour:
    score: Score
    failures: Failures[RerankError] = field(default_factory=Failures)


@public("anyrerank.testing")
class FakeProvider(Provider):
    """A provider that sends nothing, and answers with the scores of the test.

    `fake_provider` creates a subclass with its own calls and failures; everything that uses this class itself shares
    them.
    Where the class must be picklable, write a subclass in a module:
    `class Fake(FakeProvider, scores={"Mars is red.": 0.9})`.

    Attributes:
        calls: Every request, in the order of arrival: one for each batch, one for each retry.
    """

    prefix = "fake"
    title = "Fake provider"
    needs_key = False
    free = True
    scale: ClassVar[Scale] = "unit"
    options = frozenset({"instruction", "max_chunks_per_doc", "max_tokens_per_doc", "priority", "truncate"})
    calls: ClassVar[list[FakeCall]] = []
    _behaviour: ClassVar[_Behaviour] = _Behaviour(overlap)

    def __init_subclass__(cls, *, scores: Scores | None = None, scale: Scale | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if scale is not None:
            if scale not in _SCALES:
                raise ValueError(f"scale must be one of {', '.join(_SCALES)}, got {scale!r}")
            cls.scale = scale
        cls.calls = []
        cls._behaviour = _Behaviour(score_function(scores))

    @classmethod
    def fail(cls, error: RerankError | type[RerankError], *, times: int | None = None) -> None:
        """Raise `error` in the next calls, after the failures that were set before.

        Args:
            error: An error of `anyrerank.errors`; a class stands for an error with the usual status of that class.
            times: How often; `None` for always, until `recover`.

        Raises:
            ValueError: `error` is another object, or `times` is not a positive integer.
        """
        kind = error if isinstance(error, type) else type(error)
        if not issubclass(kind, RerankError):
            raise ValueError(f"error must be an error of anyrerank.errors, or its class, got {kind.__name__}")
        if isinstance(error, type):
            error = error("the fake provider was set to fail", status_code=_DEFAULT_STATUS.get(error))
        cls._behaviour.failures.add(error, times)

    @classmethod
    def recover(cls) -> None:
        """Answer again: remove the remaining failures."""
        cls._behaviour.failures.clear()

    @override
    def check(self) -> None:
        """Needs neither key nor base URL."""

    @property
    @override
    def identity(self) -> tuple[object, ...]:
        return (*super().identity, id(type(self)))

    @override
    def flow(self, request: RerankRequest) -> Flow[Answer]:
        yield from ()
        texts = tuple(texts_of(request))
        self.calls.append(
            FakeCall(
                model=self.connection.model,
                query=request.query,
                documents=texts,
                top_n=request.top_n,
                options=request.options,
            )
        )
        if error := self._behaviour.failures.next():
            raise copy.copy(error)
        score = self._behaviour.score
        scores = [(index, float(score(request.query, text))) for index, text in enumerate(texts)]
        if not all(math.isfinite(each) for _, each in scores):
            model = self.connection.model
            raise APIResponseValidationError("a score is not finite", provider=self.prefix, model=model)
        return Answer(scores=scores, meta=usage(search_units=1))


_SCALES = get_args(Scale)
_DEFAULT_STATUS = {class_for_status(status): status for status in (400, 401, 403, 404, 429, 500)}


def fake_provider(scores: Scores | None = None, *, scale: Scale = "unit") -> type[FakeProvider]:
    """A provider class to pass as `custom_llm_provider`, with any model name.

        fake = fake_provider({"Mars is the red planet.": 0.9})
        fake.fail(RateLimitError, times=1)
        reranker = Reranker("fake/any-model", custom_llm_provider=fake)

    Args:
        scores: A mapping from the text of a document to its score (0.0 for other texts), or a function of the query and
            the text. By default the share of the words of the query that are in the text. A score that is not finite
            makes the call fail, as that of a provider does.
        scale: What the scores are: `"unit"` for scores from 0 to 1, `"logit"`, or `"unknown"`.

    Raises:
        ValueError: `scores` or `scale` is something else.
    """

    class Fake(FakeProvider, scores=scores, scale=scale):
        """Its own calls and failures."""

    return Fake
