"""Converting rows to requests of a vendor's batch API, and its results to outcomes.

They become requests and answers in the same way as rows that are asked for one by one; only what is in between is
another one. So the errors of rows, the scores and the columns are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

from anyrerank._core.client import BaseReranker, BatchApiReranker, plans_of
from anyrerank._core.engine import Plan, retryable
from anyrerank._core.runtime import Deadline, HttpRequest, HttpResponse
from anyrerank.batch.outcomes import Outcome, answered, failed
from anyrerank.batch.rows import Row
from anyrerank.batch.voyage_batches import DISCOUNT, Result, VoyageBatches
from anyrerank.errors import APITimeoutError, BadRequestError, RerankError


class Answers:
    """A sender that answers with the results of a batch.

    Attributes:
        rows: Indexes of the rows that have some.
    """

    def __init__(self) -> None:
        self.rows: frozenset[int] = frozenset()
        self._batch = ""
        self._results: Mapping[str, Result] = {}
        self._row = 0
        self._is_refused = False

    def take(self, batch: str, results: Mapping[str, Result]) -> None:
        """Answer from a batch from now on.

        Args:
            batch: The vendor's id of it.
            results: The answers, by the `custom_id` of the request.
        """
        self._batch, self._results = batch, results
        names = (name.partition("-")[0] for name, result in results.items() if result.status is not None)
        self.rows = frozenset(int(name) for name in names if name.isdecimal())

    def ask_for(self, row: int) -> None:
        """Answer requests of this row from now on."""
        self._row, self._is_refused = row, False

    def send(self, request: HttpRequest, deadline: Deadline) -> HttpResponse:
        """The answer to a request.

        Raises:
            APITimeoutError: The vendor did not execute it.
            BadRequestError: It is a part of one that was too large.
        """
        found = self._results.get(custom_id(self._row, request.content))
        if self._is_refused and found is None:
            raise BadRequestError("too large for the vendor, and requests of a batch are not halved: leave via out")
        if found is None or found.status is None:
            raise APITimeoutError("the batch ended before the vendor executed the request", request_id=self._batch)
        self._is_refused = found.status >= 400
        headers = {"content-type": "application/json", "x-request-id": self._batch}
        return HttpResponse(status=found.status, headers=headers, content=found.body, url=request.url)

    async def asend(self, request: HttpRequest, deadline: Deadline) -> HttpResponse:
        """`send`, which does not wait."""
        return self.send(request, deadline)


class BatchApi:
    """A reranker that is called through the batch API of its vendor.

    Args:
        reranker: Of one model that has a batch API.

    Attributes:
        answers: Where its answers come from.
        reranker: The same one, with these answers and the price of batches.
        vendor: The batch API.

    Raises:
        RerankError: It has none, or cannot be asked in this way.
    """

    def __init__(self, reranker: BaseReranker) -> None:
        self.answers = Answers()
        self.reranker = BatchApiReranker(reranker, self.answers, DISCOUNT)
        self.vendor = VoyageBatches(self.reranker.original)

    def plan(self, row: Row) -> tuple[Plan, dict[str, bytes]]:
        """What a row will cost, and the bodies of its requests by their `custom_id`.

        Raises:
            RerankError: It cannot be asked for.
        """
        if row.problem is not None:
            raise row.problem
        ((member, plan),) = plans_of(self.reranker, row.query, row.documents, row.options)
        if isinstance(plan, RerankError):
            raise plan
        bodies = [member.connected().build_request(part).content for part in plan.parts]
        return plan, {custom_id(row.index, body): body for body in bodies}

    async def outcome(self, row: Row, *, is_last: bool = True) -> Outcome | None:
        """The outcome of a row.

        Returns:
            The outcome, or `None` if another batch may answer the row and this one is not the last.
        """
        if row.index not in self.answers.rows and not is_last:
            return None
        self.answers.ask_for(row.index)
        options = {**row.options, "return_documents": False, "on_error": "raise", "max_retries": 0}
        try:
            response = await self.reranker.arerank(row.query, row.documents, **options)
        except RerankError as error:
            if retryable(error) and not is_last:
                return None
            # what was not executed was not charged, and is no attempt
            return failed(error, [each for each in error.attempts if each.error is None or each.status is not None])
        return answered(response, response.attempts)


def custom_id(row: int, body: bytes) -> str:
    """The id of a request in the batch of a chunk: its row, and a digest that tells several requests of it apart."""
    return f"{row}-{blake2b(body, digest_size=8).hexdigest()}"
