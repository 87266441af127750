"""Signed calls to AWS Bedrock."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx
from tests.support.harness import DOCUMENTS, QUERY, Mode, Replay, sent_by

import anyrerank

MODEL = "bedrock/cohere.rerank-v3-5:0"
ARN = "arn:aws:bedrock:us-west-2::foundation-model/cohere.rerank-v3-5:0"
AGENT = "https://bedrock-agent-runtime.us-west-2.amazonaws.com"
ACCESS_KEY = "AKIDEXAMPLE"
SECRET = "k3pt-s3cret/0f+forty+letters+or+some+of+it"
PAIR = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET}
REGION = {"aws_region_name": "us-west-2"}
SIGNED: dict[str, Any] = {"api_key": None, **PAIR, **REGION}
"""Options of a signed call; without them `Mode.reranker` passes a key."""
ROWS = [{"index": 1, "relevanceScore": 0.75}, {"index": 0, "relevanceScore": 0.5}, {"index": 2, "relevanceScore": 0.25}]


def rerank(mode: Mode, replay: Replay, documents: Any = DOCUMENTS, **options: Any) -> anyrerank.RerankResponse:
    made = {"model": MODEL, **SIGNED, **options}
    return mode.rerank(mode.reranker(**made, http_client=replay.client(mode)), QUERY, documents)


def sent(mode: Mode, documents: Any = DOCUMENTS, **options: Any) -> httpx.Request:
    made = {"model": MODEL, **SIGNED, **options}
    return sent_by(mode, documents=documents, **made)


def signature(request: httpx.Request, region: str, secret: str = SECRET) -> str:
    """Signature Version 4 of a request, computed without botocore."""
    moment, scope = request.headers["x-amz-date"], ""
    names = request.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0]
    lines = "".join(f"{name}:{request.headers[name]}\n" for name in names.split(";"))
    parts = urlsplit(str(request.url))
    body = hashlib.sha256(request.content).hexdigest()
    canonical = (
        f"POST\n{parts.path}\n{'&'.join(sorted(filter(None, parts.query.split('&'))))}\n{lines}\n{names}\n{body}"
    )
    key = f"AWS4{secret}".encode()
    for part in (moment[:8], region, "bedrock", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
        scope = f"{scope}/{part}" if scope else part
    to_sign = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    return hmac.digest(key, to_sign.encode(), "sha256").hex()


def signature_in(request: httpx.Request) -> str:
    return request.headers["authorization"].partition("Signature=")[2]


Bodies = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def text(document: str) -> dict[str, Any]:
    return {"type": "INLINE", "inlineDocumentSource": {"type": "TEXT", "textDocument": {"text": document}}}


def data(document: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "INLINE", "inlineDocumentSource": {"type": "JSON", "jsonDocument": document}}
