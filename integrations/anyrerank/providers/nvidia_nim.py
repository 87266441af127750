"""NVIDIA NIM, hosted and self-hosted.

Hosted: `nvidia_nim/<model>` goes to `https://ai.api.nvidia.com/v1/retrieval/<model>/reranking`
(https://docs.api.nvidia.com/nim/reference). Self-hosted: `nvidia_nim/ranking/<model>` goes to `<api_base>/v1/ranking`
and needs no key (https://docs.nvidia.com/nim/nemo-retriever/text-reranking). Scores are logits, without bounds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from typing_extensions import override

from anyrerank._core.runtime import Flow, HttpRequest, HttpResponse, Sleep
from anyrerank._core.types import Answer, Document, RerankRequest, text_of
from anyrerank.errors import ConfigurationError
from anyrerank.providers._base import Provider, dig, ranked, usage

_RANKING = "ranking/"
_HOST, _CHAT_HOST = "ai.api.nvidia.com", "integrate.api.nvidia.com"
_STATUS_URL = "https://api.nvcf.nvidia.com/v2/nvcf/pexec/status/"
_POLL_SECONDS = 0.5
_LEGACY = "nv-rerank-qa-mistral-4b:1"
_LEGACY_NAMES = frozenset({_LEGACY, "ai-rerank-qa-mistral-4b", "nvidia/rerank-qa-mistral-4b"})
_BETWEEN_DIGITS = re.compile(r"(?<=\d)_(?=\d)")
_TEXT_ONLY = re.compile(r"rerank-?qa|nemotron-rerank-\d")
"""In the names of NVIDIA's models for text; the vision-language ones have `-vl-`."""
_TRUNCATE = ("NONE", "END")


class NvidiaNim(Provider):
    """At most 1,000 passages a request, 512 for the vision-language model (`-vl-`), whose documents may hold an `image`
    as a base64 data URL. `truncate` is "NONE" (too long is an error) or "END"; what the server does when it is not
    given differs between models, so it is sent only when the caller sets it.

    The hosted service may answer 202 and finish later; the result is then polled for within the call's `timeout`.
    """

    prefix = "nvidia_nim"
    title = "NVIDIA NIM"
    key_variables = ("NVIDIA_NIM_API_KEY", "NVIDIA_API_KEY")
    base_variables = ("NVIDIA_NIM_API_BASE", "NVIDIA_BASE_URL", "NVIDIA_API_URL")
    default_base = f"https://{_HOST}"
    options = frozenset({"truncate"})
    scale = "logit"
    images = True
    documents_per_request = 1000

    @property
    @override
    def key_required(self) -> bool:
        return not self._self_hosted

    @override
    def check(self) -> None:
        super().check()
        if self._self_hosted and not self.connection.api_base:
            raise ConfigurationError(
                f"nvidia_nim/ranking/... is a NIM of your own: pass api_base= (often http://localhost:8000) or set "
                f"{self.base_variables[0]}",
                provider=self.prefix,
                model=self.connection.model,
            )

    @classmethod
    @override
    def reads_images(cls, model: str) -> bool:
        return not _TEXT_ONLY.search(model)

    @override
    def unfit(self, request: RerankRequest) -> tuple[int, str] | None:
        for place, document in enumerate(request.documents):
            image = self._image(document)
            if image is not None and not (isinstance(image, str) and image.startswith("data:")):
                return place, (
                    "has an image that is no base64 data URL (data:image/png;base64,...), which is all that NVIDIA NIM "
                    "takes; nothing is fetched or read from disk on the way"
                )
        return None

    @override
    def max_documents(self, options: Mapping[str, Any]) -> int | None:
        return 512 if "-vl-" in self.connection.model else self.documents_per_request

    @override
    def flow(self, request: RerankRequest) -> Flow[Answer]:
        sent = self.build_request(request)
        response: HttpResponse = yield sent
        poll: HttpRequest | None = None
        while response.status == 202 and _of_nvidia(sent.url):
            poll = self._poll(request, sent, response, poll)
            response = yield poll
            if response.status == 202:
                yield Sleep(_POLL_SECONDS)
        return self.read(request, response)

    @override
    def url(self, request: RerankRequest) -> str:
        parts = urlsplit(self.base.replace(f"//{_CHAT_HOST}", f"//{_HOST}", 1))
        path = parts.path.rstrip("/")
        if "/retrieval/" not in path and not path.endswith("/ranking"):
            path = path.removesuffix("/v1") + (
                "/v1/ranking" if self._self_hosted else f"/v1/retrieval/{_url_model(self.connection.model)}"
            )
        return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))

    @override
    def body(self, request: RerankRequest) -> dict[str, Any]:
        truncate = request.options.get("truncate", "END")
        if truncate not in _TRUNCATE:
            raise self.refuse("truncate is 'NONE' or 'END' at NVIDIA NIM")
        return {
            "model": self._body_model,
            "query": {"text": request.query},
            "passages": [self._passage(document, request) for document in request.documents],
            **request.options,
        }

    @override
    def parse_body(self, body: Any, request: RerankRequest) -> Answer:
        return Answer(
            scores=ranked(body, request, rows="rankings", score="logit"),
            meta=usage(
                total_tokens=dig(body, "usage", "total_tokens"), input_tokens=dig(body, "usage", "prompt_tokens")
            ),
        )

    @property
    def _self_hosted(self) -> bool:
        return self.connection.model.startswith(_RANKING) or urlsplit(self.base).path.rstrip("/").endswith("/ranking")

    @property
    def _body_model(self) -> str:
        model = self.connection.model.removeprefix(_RANKING)
        if self._self_hosted:
            return model
        return _LEGACY if model in _LEGACY_NAMES else _BETWEEN_DIGITS.sub(".", model)

    def _passage(self, document: Document, request: RerankRequest) -> dict[str, str]:
        image = self._image(document)
        if image is None or isinstance(document, str):
            return {"text": text_of(document, request.rank_fields)}
        read = [document.get(name) for name in request.rank_fields or ("text",)]
        has_text = any(value is not None and str(value).strip() for value in read)
        return {**({"text": text_of(document, request.rank_fields)} if has_text else {}), "image": image}

    def _image(self, document: Document) -> Any:
        if isinstance(document, str) or not self.reads_images(self.connection.model):
            return None
        return document.get("image")

    def _poll(
        self, request: RerankRequest, sent: HttpRequest, response: HttpResponse, before: HttpRequest | None
    ) -> HttpRequest:
        """How to ask for the result; as `before`, when a later 202 does not say."""
        waiting = response.headers.get("nvcf-reqid")
        if not waiting:
            if before:
                return before
            self.reject(response, "202 came without the NVCF-REQID to ask for the result with", request)
        headers = {name: value for name, value in sent.headers.items() if name != "content-type"}
        return HttpRequest(method="GET", url=_STATUS_URL + quote(waiting, safe=""), headers=headers)


def _url_model(model: str) -> str:
    return "nvidia/reranking" if model in _LEGACY_NAMES else f"{model.replace('.', '_')}/reranking"


def _of_nvidia(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host == "nvidia.com" or host.endswith(".nvidia.com")
