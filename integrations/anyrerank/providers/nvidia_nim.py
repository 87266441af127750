"""NVIDIA NIM, hosted and self-hosted.

Hosted: `nvidia_nim/<model>` calls `https://ai.api.nvidia.com/v1/retrieval/<model>/reranking`
(https://docs.api.nvidia.com/nim/reference). Self-hosted: `nvidia_nim/ranking/<model>` calls `<api_base>/v1/ranking`
(https://docs.nvidia.com/nim/nemo-retriever/text-reranking), or `<api_base>` itself if that is a full URL. One that ends
in `/rerank` is the newer route, which speaks Cohere's dialect.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from typing_extensions import override

from anyrerank._core.runtime import Flow, HttpRequest, HttpResponse, Sleep
from anyrerank._core.types import Answer, Document, RerankRequest, Scale, text_of, texts_of
from anyrerank.errors import APIResponseValidationError, NotFoundError, RerankError
from anyrerank.providers._base import (
    CHECK_BASE,
    Provider,
    dig,
    is_endpoint,
    ranked,
    truncate_word,
    usage,
    without_operation,
)

_RANKING = "ranking/"
_OF_NVIDIA = "NVIDIA_API_KEY"
"""The variable of a key for NVIDIA's services, which other servers must not get."""
_HOST, _CHAT_HOST = "ai.api.nvidia.com", "integrate.api.nvidia.com"
_STATUS_URL = "https://api.nvcf.nvidia.com/v2/nvcf/pexec/status/"
_POLL_SECONDS = 0.5
_LEGACY = "nv-rerank-qa-mistral-4b:1"
_LEGACY_NAMES = frozenset({_LEGACY, "ai-rerank-qa-mistral-4b", "nvidia/rerank-qa-mistral-4b"})
_BETWEEN_DIGITS = re.compile(r"(?<=\d)_(?=\d)")
_TEXT_ONLY = re.compile(r"rerank-?qa|nemotron-rerank-\d")
"""Matches the names of NVIDIA's text models; the names of vision-language models hold `-vl-`."""


class NvidiaNim(Provider):
    """Hosted models need a key. `nvidia_nim/ranking/<model>` is a self-hosted NIM, which needs `api_base` and no key.

    `NVIDIA_API_KEY` is NVIDIA's, and never sent to a self-hosted NIM; `api_key` and `NVIDIA_NIM_API_KEY` are.

    Scores are logits without bounds. A request holds at most 1,000 passages, 512 for vision-language models (`-vl-`).
    Their documents may have an `image`, which is a base64 data URL. `truncate` is "NONE" (a text that is too long is an
    error) or "END". It is sent only if you pass it, because the default differs between models.

    The hosted service may answer 202 and finish later. The result is then polled for within `timeout`.
    """

    prefix = "nvidia_nim"
    title = "NVIDIA NIM"
    key_page = "https://build.nvidia.com/settings/api-keys"
    key_variables = ("NVIDIA_NIM_API_KEY", _OF_NVIDIA)
    base_variables = ("NVIDIA_NIM_API_BASE", "NVIDIA_BASE_URL", "NVIDIA_API_URL")
    default_base = f"https://{_HOST}"
    sends_top_n = False
    options = frozenset({"truncate"})
    scale = "logit"
    images = True
    documents_per_request = 1000

    @property
    @override
    def key_required(self) -> bool:
        return not self._self_hosted

    @property
    @override
    def key_alternative(self) -> str:
        return (
            ""
            if _is_nvidia(self.base)
            else f"; for a NIM of your own, write nvidia_nim/ranking/{self.connection.model}"
        )

    @property
    @override
    def sends_key(self) -> bool:
        return not (self._self_hosted and self.connection.key_variable == _OF_NVIDIA)

    @override
    def advice_for(self, kind: type[RerankError]) -> str:
        if kind is NotFoundError:
            return "" if self._self_hosted else self.key_alternative
        return super().advice_for(kind)

    @override
    def check(self) -> None:
        super().check()
        if self._self_hosted and not self.connection.api_base:
            raise self.configuration_error(
                "nvidia_nim/ranking/... is a self-hosted NIM: pass api_base= (often http://localhost:8000) or set "
                f"{self.base_variables[0]}"
            )

    @classmethod
    @override
    def reads_images(cls, model: str) -> bool:
        return not _TEXT_ONLY.search(model)

    @classmethod
    @override
    def same_server(cls, model: str, other: str) -> bool:
        return model.startswith(_RANKING) == other.startswith(_RANKING)

    @override
    def score_scale(self, options: Mapping[str, Any]) -> Scale:
        return "unknown" if self._is_cohere_shaped else self.scale

    @override
    def check_options(self, options: Mapping[str, Any]) -> None:
        if truncate_word(options.get("truncate")) not in (None, "NONE", "END"):
            raise self.bad_request("truncate must be 'NONE' or 'END' for NVIDIA NIM")

    @override
    def unsupported_document(self, request: RerankRequest) -> tuple[int, str] | None:
        for index, document in enumerate(request.documents):
            image = self._image(document)
            if image is not None and not (isinstance(image, str) and image.startswith("data:")):
                return index, (
                    "has an image that is not a base64 data URL (data:image/png;base64,...): NVIDIA NIM takes nothing "
                    "else, and anyrerank neither downloads images nor reads them from disk"
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
        while response.status == 202 and _is_nvidia(sent.url):
            poll = self._poll_request(request, sent, response, poll)
            response = yield poll
            if response.status == 202:
                yield Sleep(_POLL_SECONDS)
        return self.read(request, response)

    @override
    def invalid_response(
        self, request: RerankRequest, response: HttpResponse, problem: str, *, advice: str = CHECK_BASE
    ) -> APIResponseValidationError:
        if response.status == 202 and not _is_nvidia(response.url):
            advice = f"a 202 means that the result comes later, and it is only asked for if https://{_HOST} was called"
        return super().invalid_response(request, response, problem, advice=advice)

    @override
    def url(self, request: RerankRequest) -> str:
        parts = urlsplit(self.base.replace(f"//{_CHAT_HOST}", f"//{_HOST}", 1))
        path = without_operation(parts.path)
        if "/retrieval/" not in path and not path.endswith("/ranking") and not is_endpoint(path):
            path = path.removesuffix("/v1") + (
                "/v1/ranking" if self._self_hosted else f"/v1/retrieval/{_model_path(self.connection.model)}"
            )
        return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))

    @override
    def body(self, request: RerankRequest) -> dict[str, Any]:
        truncate = truncate_word(request.options.get("truncate"))
        if self._is_cohere_shaped:
            return {
                "model": self._body_model,
                "query": request.query,
                "documents": texts_of(request),
                **({} if truncate is None else {"truncate": truncate}),
            }
        return {
            "model": self._body_model,
            "query": {"text": request.query},
            "passages": [self._passage(document, request) for document in request.documents],
            **({} if truncate is None else {"truncate": truncate}),
        }

    @override
    def parse_body(self, body: Any, request: RerankRequest) -> Answer:
        rows, score = ("results", "relevance_score") if self._is_cohere_shaped else ("rankings", "logit")
        return Answer(
            scores=ranked(body, request, rows=rows, score=score),
            meta=usage(
                total_tokens=dig(body, "usage", "total_tokens"), input_tokens=dig(body, "usage", "prompt_tokens")
            ),
        )

    @property
    def _self_hosted(self) -> bool:
        return (
            self.connection.model.startswith(_RANKING)
            or urlsplit(self.base).path.rstrip("/").endswith("/ranking")
            or (is_endpoint(urlsplit(self.base).path) and not (_is_nvidia(self.base) or "/retrieval/" in self.base))
        )

    @property
    def _is_cohere_shaped(self) -> bool:
        """Whether the base URL is `/v1/rerank`, the newer route, which speaks Cohere's dialect."""
        return urlsplit(self.base).path.rstrip("/").endswith("/rerank")

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
        fields = [document.get(name) for name in request.rank_fields or ("text",)]
        has_text = any(value is not None and str(value).strip() for value in fields)
        return {**({"text": text_of(document, request.rank_fields)} if has_text else {}), "image": image}

    def _image(self, document: Document) -> Any:
        if isinstance(document, str) or not self.reads_images(self.connection.model):
            return None
        return document.get("image")

    def _poll_request(
        self, request: RerankRequest, sent: HttpRequest, response: HttpResponse, previous: HttpRequest | None
    ) -> HttpRequest:
        """How to ask for the result of a 202; like `previous` if a later 202 has no id."""
        pending = response.headers.get("nvcf-reqid")
        if not pending:
            if previous:
                return previous
            raise self.invalid_response(
                request, response, "a 202 without the header NVCF-REQID, which is needed to ask for the result"
            )
        headers = {name: value for name, value in sent.headers.items() if name != "content-type"}
        return HttpRequest(method="GET", url=_STATUS_URL + quote(pending, safe=""), headers=headers)


def _model_path(model: str) -> str:
    return "nvidia/reranking" if model in _LEGACY_NAMES else f"{model.replace('.', '_')}/reranking"


def _is_nvidia(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host == "nvidia.com" or host.endswith(".nvidia.com")
