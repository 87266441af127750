"""A stand-in of Voyage's Batch API on 127.0.0.1, after its documentation (see `anyrerank/batch/voyage_batches.py`)."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from anyrerank.testing import Exchange, StubServer
from anyrerank.testing.dialects import answer_to
from anyrerank.testing.scores import score_function

_score = score_function(None)


@dataclass(slots=True, kw_only=True)
class Submitted:
    """A batch of the stand-in."""

    id: str
    created: dict[str, Any]
    polls: int
    status: str = "validating"
    files: dict[str, str] = field(default_factory=dict)
    errors: Any = None

    @property
    def json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": self.created["endpoint"],
            "errors": self.errors,
            "input_file_id": self.created["input_file_id"],
            "completion_window": self.created["completion_window"],
            "model": self.created["request_params"]["model"],
            "status": self.status,
            "output_file_id": self.files.get("output"),
            "error_file_id": self.files.get("error"),
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
            "metadata": self.created["metadata"],
        }


class VoyageStandIn:
    """The server.

    Args:
        polls: How often a batch is asked for before it has ended.

    Attributes:
        paid: How often each query was executed.
        deleted: Ids of the files that were deleted.
        batches: All batches, the newest last.
        line: Gets a query and the number of its batch, and returns the error line of a request that fails, or `None`.
        ends_as: The status of batches that end; `failed` ones execute nothing, `cancelled` ones every second request.
        capacity: How many batches may be unfinished.
        tokens: What each answer reports as used, or `None` for what was sent.
        redirects_to: The address at which files are, or `None`.
    """

    def __init__(self, polls: int = 0) -> None:
        self.polls = polls
        self.paid: Counter[str] = Counter()
        self.files: dict[str, bytes] = {}
        self.deleted: list[str] = []
        self.batches: list[Submitted] = []
        self.line: Callable[[str, int], dict[str, Any] | None] = lambda _query, _number: None
        self.ends_as = "completed"
        self.capacity = 100
        self.tokens: int | None = None
        self.redirects_to: str | None = None
        self._ids = itertools.count(1)
        self.server = StubServer(handler=self.handle)
        self.url = f"{self.server.url}/v1"

    def __enter__(self) -> VoyageStandIn:
        return self

    def __exit__(self, *error: object) -> None:
        self.server.close()

    @property
    def created(self) -> list[dict[str, Any]]:
        """What the batches were created with."""
        return [each.created for each in self.batches]

    def lines_of(self, batch: Submitted) -> list[dict[str, Any]]:
        """The requests in the file of a batch."""
        return [json.loads(line) for line in self.files[batch.created["input_file_id"]].splitlines()]

    def handle(self, exchange: Exchange) -> None:
        if exchange.request.headers.get("authorization") != "Bearer pa-key":
            exchange.respond(401, {"detail": "Provided API key is invalid."})
            return
        parts = urlsplit(exchange.request.target)
        match exchange.request.method, parts.path.removeprefix("/v1/").split("/"):
            case "POST", ["files"]:
                exchange.respond(200, self._upload(exchange.request.body))
            case "POST", ["files", "delete"]:
                self.deleted += exchange.request.json["file_ids"]
                exchange.respond(200, {"success": True, "file_ids": exchange.request.json["file_ids"]})
            case "GET", ["files", name, "content"] if name in self.files and name not in self.deleted:
                if self.redirects_to is None:
                    exchange.respond(200, self.files[name], {"content-type": "text/plain"})
                else:
                    exchange.respond(302, b"", {"location": f"{self.redirects_to}/{name}"})
            case "POST", ["batches"]:
                exchange.respond(*self._create(exchange.request.json))
            case "GET", ["batches"]:
                exchange.respond(200, self._list(parse_qs(parts.query)))
            case "GET", ["batches", name]:
                found = next((each for each in self.batches if each.id == name), None)
                exchange.respond(*((404, {"detail": "no such batch"}) if found is None else (200, self._polled(found))))
            case _:
                exchange.respond(404, {"detail": "Not Found"})

    def _upload(self, body: bytes) -> dict[str, Any]:
        boundary = body[: body.index(b"\r\n")]
        parts = [part.partition(b"\r\n\r\n") for part in body.split(boundary)[1:-1]]
        found = {head.split(b'name="')[1].split(b'"')[0]: content[:-2] for head, _, content in parts}
        assert found[b"purpose"] == b"batch"
        name = f"file-{next(self._ids)}"
        self.files[name] = found[b"file"]
        return {"id": name, "object": "file", "bytes": len(found[b"file"]), "purpose": "batch"}

    def _create(self, created: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        assert created["endpoint"] == "/v1/rerank"
        assert created["completion_window"] == "12h"
        assert created["input_file_id"] in self.files
        if sum(each.status != self.ends_as for each in self.batches) >= self.capacity:
            return 429, {"detail": "too many batches"}
        batch = Submitted(id=f"batch-{next(self._ids)}", created=created, polls=self.polls)
        self.batches.append(batch)
        return 200, batch.json

    def _list(self, query: dict[str, list[str]]) -> dict[str, Any]:
        newest = self.batches[::-1]
        after = query.get("after", [""])[0]
        start = next((place + 1 for place, each in enumerate(newest) if each.id == after), 0)
        page = newest[start : start + min(2, int(query["limit"][0]))]  # short pages, so that there are several
        return {
            "object": "list",
            "data": [each.json for each in page],
            "last_id": page[-1].id if page else None,
            "has_more": start + len(page) < len(newest),
        }

    def _polled(self, batch: Submitted) -> dict[str, Any]:
        if batch.status in ("validating", "in_progress"):
            batch.polls -= 1
            batch.status = self.ends_as if batch.polls < 0 else "in_progress"
            if batch.polls < 0:
                self._execute(batch)
        return batch.json

    def _execute(self, batch: Submitted) -> None:
        if self.ends_as == "failed":
            problem = {"code": "invalid_request", "line": 2, "message": "Which planet is red?", "param": "query"}
            batch.errors = {"object": "list", "data": [problem]}
            return
        lines = dict[str, list[dict[str, Any]]](output=[], error=[])
        for kind, line in self._lines(batch):
            lines[kind].append(line)
        for kind, found in lines.items():
            if found:
                batch.files[kind] = f"file-{next(self._ids)}"
                self.files[batch.files[kind]] = b"".join(json.dumps(each).encode() + b"\n" for each in found)

    def _lines(self, batch: Submitted) -> Iterator[tuple[str, dict[str, Any]]]:
        number = self.batches.index(batch)
        for place, request in enumerate(reversed(self.lines_of(batch))):  # not in the order of the requests
            assert request.keys() == {"custom_id", "body"}
            assert request["body"].keys() == {"query", "documents"}
            if self.ends_as == "cancelled" and place % 2:
                continue
            query, head = request["body"]["query"], {"batch_id": batch.id, "custom_id": request["custom_id"]}
            if (failure := self.line(query, number)) is not None:
                yield "error", {**head, **failure}
                continue
            self.paid[query] += 1
            body = json.dumps({**batch.created["request_params"], **request["body"]}).encode()
            status, answer = answer_to("POST", body, _score)
            if self.tokens is not None:
                answer["usage"] = {"total_tokens": self.tokens}
            yield "output", {**head, "response": {"status_code": status, "body": answer}, "error": None}


EXPIRED = {
    "response": None,
    "error": {
        "code": "batch_expired",
        "message": "This request could not be executed before the completion window expired.",
    },
}
"""The line of a request that was not executed in time."""


def refused(status: int, message: str) -> dict[str, Any]:
    """The line of a request that was executed and failed."""
    return {"response": {"status_code": status, "message": message}, "error": None}
