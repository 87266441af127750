"""AWS Bedrock: `Rerank` of Agents for Amazon Bedrock Runtime, signed by botocore (extra `bedrock`).

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_agent-runtime_Rerank.html. Bedrock's API keys (bearer
tokens) do not work for `Rerank`; with one, the model is asked through `InvokeModel` on `bedrock-runtime`, which is
documented for `cohere.rerank-v3-5:0` and believed to work for `amazon.rerank-v1:0`.

The service reports no usage, so search units are an estimate: one for each 100 documents, the least that is billed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import orjson
from typing_extensions import Self, override

from anyrerank._core.runtime import Call, Flow, HttpRequest, HttpResponse, needed
from anyrerank._core.types import Answer, Document, RerankRequest, text_of, texts_of
from anyrerank.errors import (
    APIConnectionError,
    AuthenticationError,
    InternalServerError,
    RateLimitError,
    RerankError,
)
from anyrerank.providers._base import Provider, Setting, dig, endpoint, estimated_units, first_at, json_or_none, ranked

_SIGNED_AS = "bedrock"
_LONGEST_TEXT = 32_000
_ARN = re.compile(r"arn:[\w-]+:bedrock:([\w-]+):")
_AGENT, _RUNTIME = "bedrock-agent-runtime", "bedrock-runtime"
_KEYS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
_ERRORS: Mapping[str, type[RerankError]] = MappingProxyType(
    {
        "ServiceQuotaExceededException": RateLimitError,
        "ConflictException": InternalServerError,
        "DependencyFailedException": InternalServerError,
        "UnrecognizedClientException": AuthenticationError,
        "InvalidSignatureException": AuthenticationError,
        "ExpiredTokenException": AuthenticationError,
        "MissingAuthenticationTokenException": AuthenticationError,
        "IncompleteSignatureException": AuthenticationError,
    }
)
"""Errors whose class is not that of their status, by the code that AWS gives them."""


class Bedrock(Provider):
    """The model is an ARN, or an id that becomes one (`cohere.rerank-v3-5:0`).

    Region: `aws_region_name`, that of the ARN, AWS_REGION_NAME, AWS_REGION, AWS_DEFAULT_REGION, the profile.
    Credentials: `api_key` or AWS_BEARER_TOKEN_BEDROCK is a bearer token; access keys (or a profile) win over one from
    the environment; with neither, botocore's chain is asked (profile, web identity, container, instance).
    A document may be a mapping, which is ranked whole as JSON, or by its `rank_fields`.
    """

    prefix = "bedrock"
    title = "AWS Bedrock"
    sends_mappings = True
    ranks_mappings = True
    key_variables = ("AWS_BEARER_TOKEN_BEDROCK",)
    base_variables = ("AWS_ENDPOINT_URL_BEDROCK_AGENT_RUNTIME", "BEDROCK_API_BASE", "AWS_BEDROCK_RUNTIME_ENDPOINT")
    needs_key = False
    extra = "bedrock"
    options = frozenset({"additional_model_request_fields"})
    scale = "unit"
    documents_per_request = 1000
    settings = MappingProxyType(
        {
            "aws_access_key_id": Setting(about="access key", variables=("AWS_ACCESS_KEY_ID",), secret=True, sent=True),
            "aws_secret_access_key": Setting(about="its secret", variables=("AWS_SECRET_ACCESS_KEY",), secret=True),
            "aws_session_token": Setting(
                about="session token", variables=("AWS_SESSION_TOKEN",), secret=True, sent=True
            ),
            "aws_profile_name": Setting(about="profile", variables=("AWS_PROFILE",)),
            "aws_region_name": Setting(
                about="region", variables=("AWS_REGION_NAME", "AWS_REGION", "AWS_DEFAULT_REGION")
            ),
        }
    )

    @property
    @override
    def price_names(self) -> tuple[str, ...]:
        return (f"{self.prefix}/{self._model_id}",)

    @override
    def check(self) -> None:
        held, outside = self.connection.settings, self.connection.from_environment
        signs = self._credential == "aws_access_key_id" or "aws_secret_access_key" in held.keys() - outside
        if signs and not (held.get("aws_access_key_id") and held.get("aws_secret_access_key")):
            raise self.locked_out("aws_access_key_id and aws_secret_access_key (or their variables) come together")
        if self.connection.api_base:
            _ = self.base
        if self._uses_bearer:
            _ = self._region

    @override
    def unfit(self, request: RerankRequest) -> tuple[int, str] | None:
        limit = f"has more than the {_LONGEST_TEXT:,} characters that AWS Bedrock takes"
        if len(request.query) > _LONGEST_TEXT:
            raise self.refuse(f"the query {limit}")
        for place, document in enumerate(request.documents):
            as_text = isinstance(document, str) or self._uses_bearer
            if as_text and len(text_of(document, request.rank_fields)) > _LONGEST_TEXT:
                return place, f"{limit}: shorten it"
        return None

    @override
    def authorization(self) -> dict[str, str]:
        return super().authorization() if self._uses_bearer else {}

    @override
    def authorized(self) -> Flow[Self]:
        if self._uses_bearer or self.has_own_header:
            return self
        held = self._own_credentials()
        try:
            found = yield Call(lambda: _resolved(held), bounded=True)
        except RerankError:
            raise
        except Exception as error:  # noqa: BLE001  a chain of many libraries
            raise self._no_credentials(error) from None
        connection = self.connection
        outside = connection.from_environment | (found.keys() - connection.settings.keys())
        return type(self)(replace(connection, settings=found, from_environment=outside))

    @override
    def flow(self, request: RerankRequest) -> Flow[Answer]:
        try:
            return (yield from self._ranked(request))
        except AuthenticationError:
            _session.cache_clear()  # a file with new keys may be there by the next call
            raise

    def _ranked(self, request: RerankRequest) -> Flow[Answer]:
        ready = yield from self.authorized()
        asked = ready.build_request(request)
        rows: list[Any] = []
        seen = set[str]()
        while True:
            response: HttpResponse = yield ready.signed(asked)
            page = json_or_none(response.content) if response.status == 200 else None
            token, found = dig(page, "nextToken"), dig(page, "results")
            if isinstance(found, list) and (rows or token):
                rows.extend(found)
                response = replace(response, content=orjson.dumps({"results": rows}))
            if not token:
                return ready.read(request, response)
            if not isinstance(token, str) or token in seen:
                ready.reject(response, "nextToken is not a new token", request)
            seen.add(token)
            asked = replace(asked, content=orjson.dumps({**orjson.loads(asked.content), "nextToken": token}))

    def signed(self, request: HttpRequest) -> HttpRequest:
        """`request` with a Signature Version 4 over its exact bytes, unless it carries something else already."""
        if self._uses_bearer or self.has_own_header:
            return request
        held = self.connection.settings
        credentials = needed("botocore.credentials", "bedrock").ReadOnlyCredentials(
            held["aws_access_key_id"], held["aws_secret_access_key"], held.get("aws_session_token")
        )
        aws = needed("botocore.awsrequest", "bedrock").AWSRequest(
            method=request.method,
            url=request.url,
            data=request.content,
            headers={"content-type": request.headers["content-type"]},
        )
        needed("botocore.auth", "bedrock").SigV4Auth(credentials, _SIGNED_AS, self._region).add_auth(aws)
        added = {name.lower(): value for name, value in aws.headers.items()}
        return replace(request, headers={**request.headers, **added})

    @override
    def url(self, request: RerankRequest) -> str:
        service = _RUNTIME if self._uses_bearer else _AGENT
        parts = urlsplit(self.connection.api_base or f"https://{service}.{self._region}.{self._partition[1]}")
        host = parts.netloc
        if (parts.hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws")):
            host = host.replace(_AGENT, _RUNTIME).replace(_RUNTIME, service)
        operation = f"model/{quote(self._model_id, safe='')}/invoke" if self._uses_bearer else "rerank"
        return endpoint(urlunsplit((parts.scheme, host, parts.path, parts.query, "")), operation, root="")

    @override
    def body(self, request: RerankRequest) -> dict[str, Any]:
        top_n = request.top_n or len(request.documents)
        fields = request.options.get("additional_model_request_fields")
        if self._uses_bearer:
            version = {"api_version": 2} if "cohere." in self._model_id else {}
            body = {"query": request.query, "documents": texts_of(request), "top_n": top_n, **version}
            return {**body, **(fields or {})}
        model = {"modelArn": self._arn, **({"additionalModelRequestFields": fields} if fields else {})}
        return {
            "queries": [{"type": "TEXT", "textQuery": {"text": request.query}}],
            "rerankingConfiguration": {
                "type": "BEDROCK_RERANKING_MODEL",
                "bedrockRerankingConfiguration": {"numberOfResults": top_n, "modelConfiguration": model},
            },
            "sources": [
                {"type": "INLINE", "inlineDocumentSource": _source(document, request.rank_fields)}
                for document in request.documents
            ],
        }

    @override
    def read(self, request: RerankRequest, response: HttpResponse) -> Answer:
        answer = super().read(request, response)
        return replace(answer, id=answer.id or response.request_id)

    @override
    def parse_body(self, body: Any, request: RerankRequest) -> Answer:
        score = "relevance_score" if self._uses_bearer else "relevanceScore"
        return Answer(scores=ranked(body, request, rows="results", score=score), meta=estimated_units(request))

    @override
    def error_code(self, response: HttpResponse, body: Any) -> str | None:
        named = response.headers.get("x-amzn-errortype") or first_at(body, ("__type", "code"))
        return str(named).partition(":")[0].rpartition("#")[2] if named else None

    @override
    def error_class(self, response: HttpResponse, body: Any) -> type[RerankError]:
        return _ERRORS.get(self.error_code(response, body) or "") or super().error_class(response, body)

    def _no_credentials(self, error: Exception) -> RerankError:
        """What botocore's chain raised: its own errors, those of a service such as STS, or a plain `RuntimeError`."""
        known = needed("botocore.exceptions", "bedrock")
        if isinstance(error, known.NoCredentialsError):
            return self.locked_out(
                "no AWS credentials: pass aws_access_key_id= and aws_secret_access_key=, aws_profile_name=, or a "
                "bearer token as api_key=; or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or "
                "AWS_BEARER_TOKEN_BEDROCK"
            )
        if isinstance(error, known.HTTPClientError | known.ConnectionError):
            return APIConnectionError(
                f"the service that gives AWS credentials cannot be reached: {type(error).__name__}",
                provider=self.prefix,
                model=self.connection.model,
            )
        return self.locked_out(f"no AWS credentials: {str(error)[:300]}")

    @property
    def _credential(self) -> str | None:
        given = self.connection.api_key and not self.connection.key_variable
        return "api_key" if given else self.chosen("aws_access_key_id", "aws_profile_name", "api_key")

    @property
    def _uses_bearer(self) -> bool:
        return self._credential == "api_key"

    def _own_credentials(self) -> dict[str, Any]:
        """The settings without credentials of the environment that do not belong to those that are used."""
        held, outside = dict(self.connection.settings), self.connection.from_environment
        mixed = "aws_access_key_id" in held.keys() - outside and "aws_session_token" in outside
        foreign = _KEYS if self._credential == "aws_profile_name" else _KEYS[-1:] if mixed else ()
        return {name: value for name, value in held.items() if name not in foreign}

    @property
    def _region(self) -> str:
        named = _ARN.match(self.connection.model)
        given = "aws_region_name" in self.connection.settings.keys() - self.connection.from_environment
        return named[1] if named and not given else self.setting("aws_region_name")

    @property
    def _partition(self) -> tuple[str, str]:
        """The partition of the region, and the end of its host names."""
        known = (("cn-", ("aws-cn", "amazonaws.com.cn")), ("us-gov-", ("aws-us-gov", "amazonaws.com")))
        return next((found for start, found in known if self._region.startswith(start)), ("aws", "amazonaws.com"))

    @property
    def _model_id(self) -> str:
        return self.connection.model.rpartition("foundation-model/")[2]

    @property
    def _arn(self) -> str:
        model = self.connection.model
        if model.startswith("arn:"):
            return model
        return f"arn:{self._partition[0]}:bedrock:{self._region}::foundation-model/{model}"


def _source(document: Document, rank_fields: Sequence[str] | None) -> dict[str, Any]:
    if isinstance(document, str):
        return {"type": "TEXT", "textDocument": {"text": document}}
    fields = {name: document[name] for name in rank_fields if name in document} if rank_fields else document
    return {"type": "JSON", "jsonDocument": fields}


def _resolved(held: dict[str, Any]) -> dict[str, Any]:
    """`held` with the credentials and the region that botocore finds where some are missing."""
    for module in ("botocore.auth", "botocore.awsrequest", "botocore.credentials"):
        needed(module, "bedrock")
    if "aws_access_key_id" in held and "aws_region_name" in held:
        return held
    session = _session(held.get("aws_profile_name"), held.get("aws_region_name"))
    if "aws_access_key_id" not in held:
        credentials = session.get_credentials()
        if credentials is None:
            raise needed("botocore.exceptions", "bedrock").NoCredentialsError
        frozen = credentials.get_frozen_credentials()
        held["aws_access_key_id"], held["aws_secret_access_key"] = frozen.access_key, frozen.secret_key
        if frozen.token:
            held["aws_session_token"] = frozen.token
    region = held.get("aws_region_name") or session.get_config_variable("region")
    return {**held, "aws_region_name": region} if region else held


@lru_cache(maxsize=8)
def _session(profile: str | None, region: str | None) -> Any:
    """A session of botocore's for a profile; it keeps credentials and renews them, asking STS in the region."""
    session = needed("botocore.session", "bedrock").Session(profile=profile)
    if region:
        session.set_config_variable("region", region)
    return session
