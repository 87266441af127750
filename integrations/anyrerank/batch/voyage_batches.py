"""Voyage AI's Batch API: upload a file of requests, submit it, ask how far it is, and download the results.

What it is used for here is in Voyage's documentation, as read in November 2026:

- https://docs.voyageai.com/docs/batch-inference: a line has a `custom_id` and a `body` of `query` and `documents`,
  other parameters are those of the batch (`request_params`); at most 100,000 lines; 33 % cheaper; answers within 12
  hours; an organisation may have 100 batches and a billion tokens in them at a time, more is refused with 429, after
  which half an hour is long enough to wait; requests that were not executed in time are in the error file
  (`batch_expired`) and are not charged; statuses; lines of the output file and of the error file; the models.
- https://docs.voyageai.com/reference/create-batch: the fields of a batch; `metadata` has up to 16 keys, whose values
  have up to 512 characters. https://docs.voyageai.com/reference/list-batches: pages of up to 100 batches, with `after`.
- https://docs.voyageai.com/reference/retrieve-file-content: its example follows redirects, and so does `download`.
  https://docs.voyageai.com/reference/retrieve-file: files are kept for 30 days.
  https://docs.voyageai.com/reference/bulk-delete-files: deletes several files at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit, urlunsplit

import orjson

from anyrerank._core.engine import Deployment
from anyrerank._core.runtime import Deadline, HttpRequest, HttpResponse
from anyrerank._core.types import RerankRequest
from anyrerank.errors import BadRequestError, ConfigurationError
from anyrerank.providers import Provider

PROVIDER = "voyage"
MODELS = ("rerank-2.5", "rerank-2.5-lite")
DISCOUNT = 0.33
HOURS = 12
MAX_ROWS = 100_000
MAX_TOKENS = 1_000_000_000
"""Tokens that an organisation may have in batches at a time."""
WAIT_AFTER_REFUSAL = 1800.0

_NOTHING = RerankRequest(query="", documents=())
_ENDPOINT = "/v1/rerank"
_OF_A_LINE = ("query", "documents")
_TOP_K = "top_k"
"""Not sent: it may differ by row. All scores come back, at the same price, and are cut here."""
_ENDED = frozenset({"completed", "failed", "cancelled"})
_RUNNING = frozenset({"validating", "in_progress", "finalizing", "cancelling"})
_SECONDS, _SECONDS_OF_A_FILE = 60.0, 1800.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 3
_CODE = re.compile(r"[A-Za-z][\w.-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch, as the vendor describes it.

    Attributes:
        id: The vendor's id.
        status: Such as `in_progress` or `completed`.
        files: Ids of the files with results and errors.
        input: Id of the file with the requests.
        errors: Why it was refused: code and line of each error. The message is left out, because it may quote a text.
    """

    id: str
    status: str
    files: Sequence[str] = ()
    input: str | None = None
    errors: Sequence[str] = ()

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen to it. A status that is not documented ends it once there are results."""
        return self.status in _ENDED or (self.status not in _RUNNING and bool(self.files))

    @property
    def is_broken_off(self) -> bool:
        """Whether it was refused or cancelled."""
        return self.status in ("failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a request, from a line of a result file.

    Attributes:
        status: Its HTTP status, or `None` if it was not executed.
        body: The answer, or a JSON object with the error.
    """

    status: int | None
    body: bytes


class VoyageBatches:
    """The Batch API at the base URL of a deployment, with its key.

    Raises:
        BadRequestError: The model is not among those that it takes, or another provider's.
        ConfigurationError: The base URL is not one whose batches could be found.
    """

    def __init__(self, deployment: Deployment) -> None:
        if deployment.provider != PROVIDER:
            raise BadRequestError(
                f"{deployment.name} has no batch API here: of the providers only Voyage AI has one, for "
                f"{' and '.join(f'{PROVIDER}/{model}' for model in MODELS)}; leave via out"
            )
        if deployment.model not in MODELS:
            raise BadRequestError(
                f"Voyage's Batch API takes {' and '.join(MODELS)}, not {deployment.model}; leave via out"
            )
        self._sender = deployment.sender
        self._provider: Provider = deployment.connected()
        url = self._provider.build_request(_NOTHING).url
        self._root = urlsplit(url)
        if not self._root.path.endswith("/rerank"):
            raise ConfigurationError("the base URL must end in /v1 for Voyage's Batch API, such as https://host/v1")

    async def submit(self, lines: Sequence[bytes], parameters: Mapping[str, Any], token: str) -> str:
        """Upload requests, start a batch of them, and return its id.

        Args:
            lines: As `line` makes them.
            parameters: As `parameters_of` finds them.
            token: What is stored with the batch; letters and digits, chosen at random.

        Raises:
            RerankError: It was refused, or it is not known whether it was.
        """
        headers = {**self._provider.headers(), "content-type": f"multipart/form-data; boundary={token}"}
        form = _form(token, lines)
        upload = self._request("POST", "files", headers=headers, content=form, seconds=_SECONDS_OF_A_FILE)
        file = await self._json(upload, quoted=lines)
        created = {
            "endpoint": _ENDPOINT,
            "completion_window": f"{HOURS}h",
            "request_params": parameters,
            "input_file_id": file["id"],
            "metadata": {"anyrerank": token},
        }
        request = self._request("POST", "batches", content=orjson.dumps(created))
        return str((await self._json(request, quoted=lines))["id"])

    async def find(self, token: str) -> str | None:
        """The id of the batch that a token is stored with, or `None`."""
        query: dict[str, Any] = {"limit": 100}
        while True:
            page = await self._json(self._request("GET", "batches", query=query), needed="data")
            batches = [each for each in page["data"] if isinstance(each, dict)]
            for each in batches:
                if (each.get("metadata") or {}).get("anyrerank") == token:
                    return str(each["id"])
            if not page.get("has_more") or not batches:
                return None
            query["after"] = page.get("last_id") or batches[-1]["id"]

    async def get(self, batch: str) -> Batch:
        """A batch."""
        found = await self._json(self._request("GET", f"batches/{batch}"), needed="status")
        files = [str(found[name]) for name in ("output_file_id", "error_file_id") if found.get(name)]
        return Batch(
            id=batch,
            status=str(found["status"]),
            files=files,
            input=found.get("input_file_id"),
            errors=list(_problems(found.get("errors"))),
        )

    async def download(self, file: str) -> bytes:
        """The content of a file. The key goes to no other host than the API's."""
        request = self._request("GET", f"files/{file}/content", is_download=True, seconds=_SECONDS_OF_A_FILE)
        response = await self._response(request)
        for _ in range(_MOST_REDIRECTS):
            if response.status not in _REDIRECTS or "location" not in response.headers:
                break
            url = urljoin(request.url, response.headers["location"])
            is_same = urlsplit(url)[:2] == self._root[:2]
            headers = request.headers if is_same else {"accept": "*/*"}
            request = replace(request, url=url, headers=headers)
            response = await self._response(request)
        if response.status != 200:
            raise self._provider.error(_NOTHING, response)
        return response.content

    async def delete(self, files: Sequence[str]) -> None:
        """Delete files.

        Raises:
            RerankError: They were not deleted.
        """
        content = orjson.dumps({"file_ids": files})
        response = await self._response(self._request("POST", "files/delete", content=content))
        if response.status != 200:
            raise self._provider.error(_NOTHING, response)

    def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        seconds: float = _SECONDS,
        is_download: bool = False,
    ) -> HttpRequest:
        root = self._root
        full = f"{root.path.removesuffix('rerank')}{path}"
        text = "&".join(filter(None, (root.query, urlencode(query or {}))))
        return HttpRequest(
            method=method,
            url=urlunsplit((root.scheme, root.netloc, full, text, "")),
            headers=headers or self._provider.headers(),
            content=content,
            timeout=seconds,
            is_download=is_download,
        )

    async def _json(self, request: HttpRequest, *, needed: str = "id", quoted: Sequence[bytes] = ()) -> dict[str, Any]:
        """The JSON object in a response.

        Args:
            request: What to send.
            needed: A field that must be there.
            quoted: The lines that were sent, which no error may quote.

        Raises:
            RerankError: The status is not 2xx, or there is no such object.
        """
        response = await self._response(request)
        sent = _NOTHING if response.status < 400 else _texts(quoted)
        if not 200 <= response.status < 300:
            raise self._provider.error(sent, response)
        try:
            found = orjson.loads(response.content)
        except ValueError:
            found = None
        if not isinstance(found, dict) or needed not in found:
            advice = "check that the base URL is the one of Voyage's API"
            raise self._provider.invalid_response(sent, response, f"the response has no {needed}", advice=advice)
        return found

    async def _response(self, request: HttpRequest) -> HttpResponse:
        return await self._sender.asend(request, Deadline.after(request.timeout))


def _form(boundary: str, lines: Sequence[bytes]) -> bytes:
    """The body of an upload. The boundary is random, so that it is in no line."""
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="anyrerank.jsonl"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return b"".join((head.encode(), *lines, f"\r\n--{boundary}--\r\n".encode()))


def line(custom_id: str, content: bytes) -> bytes:
    """The line of a request, from its body."""
    body = orjson.loads(content)
    return orjson.dumps({"custom_id": custom_id, "body": {name: body[name] for name in _OF_A_LINE}}) + b"\n"


def parameters_of(content: bytes) -> dict[str, Any]:
    """What all requests of a batch have in common, from the body of one of them."""
    body = orjson.loads(content)
    return {name: value for name, value in body.items() if name not in (*_OF_A_LINE, _TOP_K)}


def results_in(content: bytes) -> Iterator[tuple[str, Result]]:
    """The lines of a result file, by their `custom_id`; what is no such line is left out."""
    for text in BytesIO(content):
        try:
            found = orjson.loads(text)
        except ValueError:
            continue
        if isinstance(found, dict) and isinstance(found.get("custom_id"), str):
            yield found["custom_id"], _result(found.get("response"))


def _result(response: Any) -> Result:
    if not isinstance(response, dict) or type(status := response.get("status_code")) is not int:
        return Result(None, b"")
    body = response.get("body")
    return Result(status, orjson.dumps({"detail": response.get("message")} if body is None else body))


def _texts(lines: Iterable[bytes]) -> RerankRequest:
    """A request that holds every text of some lines, for the redaction of errors."""
    bodies = [orjson.loads(each)["body"] for each in lines]
    return RerankRequest(query="", documents=[text for body in bodies for text in (body["query"], *body["documents"])])


def _problems(errors: Any) -> Iterator[str]:
    found = errors.get("data") if isinstance(errors, dict) else None
    for each in found if isinstance(found, list) else ():
        if isinstance(each, dict):
            found_code = _CODE.fullmatch(str(each.get("code")))
            code = found_code[0] if found_code else "an error"
            line_ = f" in line {each['line']}" if isinstance(each.get("line"), int) else ""
            yield f"{code}{line_}"
