"""AWS Bedrock: the `Rerank` operation of Agents for Amazon Bedrock Runtime, signed by botocore (extra `bedrock`).

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_agent-runtime_Rerank.html. Bedrock API keys (bearer tokens)
do not work for `Rerank`. With one, `InvokeModel` on `bedrock-runtime` is called instead, which is documented for
`cohere.rerank-v3-5:0` and believed to work for `amazon.rerank-v1:0`.

The service reports no usage, so search units are an estimate: one for each 100 documents, the minimum that is billed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import orjson
from typing_extensions import Self, override

from anyrerank._core.runtime import Blocking, Flow, HttpRequest, HttpResponse, check_installed, import_optional
from anyrerank._core.types import Answer, Document, RerankRequest, text_of, texts_of
from anyrerank.errors import (
    APIConnectionError,
    AuthenticationError,
    InternalServerError,
    RateLimitError,
    RerankError,
)
from anyrerank.providers._base import (
    AWS_KEYS,
    Connection,
    Provider,
    Setting,
    aws_session_for,
    dig,
    endpoint,
    estimated_units,
    first_at,
    is_endpoint,
    json_or_none,
    ranked,
    resolved_aws_settings,
)

_SIGNING_NAME = "bedrock"
_MAX_CHARACTERS = 32_000
_ARN = re.compile(r"arn:[\w-]+:bedrock:([\w-]+):")
_REGION_FIRST = re.compile(r"([a-z]{2,}(?:-[a-z]+)+-\d+)/(.+)")
_OF_A_ROLE = {"aws_session_name", "aws_external_id", "aws_web_identity_token"}
_CREDENTIALS = ("aws_access_key_id", "aws_profile_name", "aws_role_name", "api_key")
_AGENT, _RUNTIME = "bedrock-agent-runtime", "bedrock-runtime"
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
"""AWS error codes whose class is not that of their status."""


class Bedrock(Provider):
    """The model is an id such as `cohere.rerank-v3-5:0`, or an ARN.

    The region is `aws_region_name`, else the one before the model (`bedrock/eu-central-1/...`), else the one in the
    ARN, else AWS_REGION_NAME, AWS_REGION or AWS_DEFAULT_REGION, else that of the profile.

    `api_key` or AWS_BEARER_TOKEN_BEDROCK is a bearer token. Access keys, a profile or `aws_role_name` take precedence
    over a token from the environment. A role is assumed with the keys, or with `aws_web_identity_token`. Without any
    of them, botocore looks for credentials (profile, web identity, container, instance).

    A mapping is ranked whole, as JSON, or by its `rank_fields`. A document of more than about 500 tokens is billed as
    several.
    """

    prefix = "bedrock"
    title = "AWS Bedrock"
    key_page = "https://docs.aws.amazon.com/bedrock/latest/userguide/api-keys.html"
    sends_mappings = True
    ranks_mappings = True
    key_variables = ("AWS_BEARER_TOKEN_BEDROCK",)
    base_variables = ("AWS_ENDPOINT_URL_BEDROCK_AGENT_RUNTIME", "BEDROCK_API_BASE", "AWS_BEDROCK_RUNTIME_ENDPOINT")
    needs_key = False
    extra = "bedrock"
    options = frozenset({"additional_model_request_fields"})
    scale = "unit"
    documents_per_request = 1000
    unit_tokens = 500
    settings = MappingProxyType(
        {
            "aws_access_key_id": Setting(
                about="id of the access key", variables=("AWS_ACCESS_KEY_ID",), secret=True, sent=True
            ),
            "aws_secret_access_key": Setting(
                about="secret of the access key", variables=("AWS_SECRET_ACCESS_KEY",), secret=True
            ),
            "aws_session_token": Setting(
                about="session token", variables=("AWS_SESSION_TOKEN",), secret=True, sent=True
            ),
            "aws_profile_name": Setting(about="name of the profile", variables=("AWS_PROFILE",)),
            "aws_region_name": Setting(
                about="region", variables=("AWS_REGION_NAME", "AWS_REGION", "AWS_DEFAULT_REGION")
            ),
            "aws_role_name": Setting(about="ARN of a role to assume; its credentials are renewed in time"),
            "aws_session_name": Setting(about="name of the role session"),
            "aws_external_id": Setting(about="external id that the role requires", secret=True),
            "aws_web_identity_token": Setting(
                about="OIDC token for the role, or the path of a file with it", secret=True
            ),
            "aws_bedrock_runtime_endpoint": Setting(about="another name of api_base", same_as="api_base"),
        }
    )

    def __init__(self, connection: Connection) -> None:
        if found := _REGION_FIRST.fullmatch(connection.model):
            connection = replace(connection, model=found[2])
            if "aws_region_name" not in connection.settings or "aws_region_name" in connection.from_environment:
                connection = connection.with_settings(aws_region_name=found[1])
        super().__init__(connection)

    @property
    @override
    def price_names(self) -> tuple[str, ...]:
        return (f"{self.prefix}/{self._model_id}",)

    @override
    def check(self) -> None:
        settings = self.connection.settings
        uses_keys = self._credential == "aws_access_key_id" or "aws_secret_access_key" in self._passed
        if uses_keys and not (settings.get("aws_access_key_id") and settings.get("aws_secret_access_key")):
            raise self.authentication_error(
                "aws_access_key_id and aws_secret_access_key must both be given: pass them, or set AWS_ACCESS_KEY_ID "
                "and AWS_SECRET_ACCESS_KEY"
            )
        if (of_a_role := sorted(settings.keys() & _OF_A_ROLE)) and "aws_role_name" not in settings:
            raise self.configuration_error(f"{', '.join(of_a_role)} without aws_role_name: pass the ARN of the role")
        if self.connection.api_base:
            _ = self.base
        if self._uses_bearer:
            _ = self._region
        elif not self.has_auth_header:
            check_installed("botocore", "bedrock")

    @override
    def unsupported_document(self, request: RerankRequest) -> tuple[int, str] | None:
        problem = f"has more than the {_MAX_CHARACTERS:,} characters that AWS Bedrock takes"
        if len(request.query) > _MAX_CHARACTERS:
            raise self.bad_request(f"the query {problem}")
        for index, document in enumerate(request.documents):
            is_text = isinstance(document, str) or self._invokes_model
            if is_text and len(text_of(document, request.rank_fields)) > _MAX_CHARACTERS:
                return index, f"{problem}: shorten it"
        return None

    @override
    def authorization(self) -> dict[str, str]:
        return super().authorization() if self._uses_bearer else {}

    @override
    def authorized(self) -> Flow[Self]:
        if self._uses_bearer or self.has_auth_header:
            return self
        settings = self._consistent_settings()
        try:
            found = yield Blocking(lambda: resolved_aws_settings(settings), bounded=True)
        except RerankError:
            raise
        except Exception as error:  # noqa: BLE001  botocore asks many sources, which may raise anything
            raise self._credentials_error(error) from None
        connection = self.connection
        from_environment = connection.from_environment | (found.keys() - connection.settings.keys())
        return type(self)(replace(connection, settings=found, from_environment=from_environment))

    @override
    def flow(self, request: RerankRequest) -> Flow[Answer]:
        try:
            return (yield from self._all_pages(request))
        except AuthenticationError:
            aws_session_for.cache_clear()  # the next call may find new credentials
            raise

    def _all_pages(self, request: RerankRequest) -> Flow[Answer]:
        ready = yield from self.authorized()
        page_request = ready.build_request(request)
        rows: list[Any] = []
        seen = set[str]()
        while True:
            response: HttpResponse = yield ready.signed(page_request)
            page = json_or_none(response.content) if response.status == 200 else None
            token, found = dig(page, "nextToken"), dig(page, "results")
            if isinstance(found, list) and (rows or token):
                rows.extend(found)
                response = replace(response, content=orjson.dumps({"results": rows}))
            if not token:
                return ready.read(request, response)
            if not isinstance(token, str) or token in seen:
                raise ready.invalid_response(request, response, "nextToken must be a string that is not repeated")
            seen.add(token)
            content = orjson.dumps({**orjson.loads(page_request.content), "nextToken": token})
            page_request = replace(page_request, content=content)

    def signed(self, request: HttpRequest) -> HttpRequest:
        """`request` with a Signature Version 4 over its exact bytes, unless it is authenticated otherwise."""
        if self._uses_bearer or self.has_auth_header:
            return request
        settings = self.connection.settings
        credentials = import_optional("botocore.credentials", "bedrock").ReadOnlyCredentials(
            settings["aws_access_key_id"], settings["aws_secret_access_key"], settings.get("aws_session_token")
        )
        aws = import_optional("botocore.awsrequest", "bedrock").AWSRequest(
            method=request.method,
            url=request.url,
            data=request.content,
            headers={"content-type": request.headers["content-type"]},
        )
        import_optional("botocore.auth", "bedrock").SigV4Auth(credentials, _SIGNING_NAME, self._region).add_auth(aws)
        added = {name.lower(): value for name, value in aws.headers.items()}
        return replace(request, headers={**request.headers, **added})

    @override
    def url(self, request: RerankRequest) -> str:
        service = _RUNTIME if self._invokes_model else _AGENT
        parts = urlsplit(self.connection.api_base or f"https://{service}.{self._region}.{self._partition[1]}")
        host = parts.netloc
        if (parts.hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws")):
            host = host.replace(_AGENT, _RUNTIME).replace(_RUNTIME, service)
        operation = f"model/{quote(self._model_id, safe='')}/invoke" if self._invokes_model else "rerank"
        return endpoint(urlunsplit((parts.scheme, host, parts.path, parts.query, "")), operation, root="")

    @override
    def body(self, request: RerankRequest) -> dict[str, Any]:
        top_n = request.top_n or len(request.documents)
        fields = request.options.get("additional_model_request_fields")
        if self._invokes_model:
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
        score = "relevance_score" if self._invokes_model else "relevanceScore"
        return Answer(scores=ranked(body, request, rows="results", score=score), meta=estimated_units(request))

    @override
    def error_code(self, response: HttpResponse, body: Any) -> str | None:
        code = response.headers.get("x-amzn-errortype") or first_at(body, ("__type", "code"))
        return str(code).partition(":")[0].rpartition("#")[2] if code else None

    @override
    def error_class(self, response: HttpResponse, body: Any) -> type[RerankError]:
        return _ERRORS.get(self.error_code(response, body) or "") or super().error_class(response, body)

    def _credentials_error(self, error: Exception) -> RerankError:
        """The error for what botocore raised: its own errors, those of a service such as STS, or a `RuntimeError`."""
        exceptions = import_optional("botocore.exceptions", "bedrock")
        if isinstance(error, exceptions.NoCredentialsError):
            return self.authentication_error(
                "no AWS credentials: pass aws_access_key_id= and aws_secret_access_key=, aws_profile_name=, or a "
                "bearer token as api_key=; or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or "
                "AWS_BEARER_TOKEN_BEDROCK"
            )
        if isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError):
            return APIConnectionError(
                f"the service that issues AWS credentials cannot be reached: {type(error).__name__}",
                provider=self.prefix,
                model=self.connection.model,
            )
        return self.authentication_error(f"no AWS credentials: {str(error)[:300]}")

    @property
    def _passed(self) -> frozenset[str]:
        """Names of the settings that did not come from the environment."""
        return frozenset(self.connection.settings) - self.connection.from_environment

    @property
    def _credential(self) -> str | None:
        key_is_passed = self.connection.api_key and not self.connection.key_variable
        return "api_key" if key_is_passed else self.select_setting(*_CREDENTIALS)

    @property
    def _uses_bearer(self) -> bool:
        return self._credential == "api_key"

    @property
    def _invokes_model(self) -> bool:
        """Whether `InvokeModel` is called: as the base URL says, if it is a full one, else with a bearer token."""
        path = urlsplit(self.connection.api_base or "").path.rstrip("/")
        return self._uses_bearer if not is_endpoint(path) else path.endswith("/invoke")

    def _consistent_settings(self) -> dict[str, Any]:
        """The settings without credentials of the environment that do not belong to the ones in use."""
        is_mixed = "aws_access_key_id" in self._passed and "aws_session_token" in self.connection.from_environment
        ignored = AWS_KEYS if self._credential == "aws_profile_name" else AWS_KEYS[-1:] if is_mixed else ()
        return {name: value for name, value in self.connection.settings.items() if name not in ignored}

    @property
    def _region(self) -> str:
        arn = _ARN.match(self.connection.model)
        return arn[1] if arn and "aws_region_name" not in self._passed else self.required_setting("aws_region_name")

    @property
    def _partition(self) -> tuple[str, str]:
        """The partition of the region, and the domain of its hosts."""
        special = (("cn-", ("aws-cn", "amazonaws.com.cn")), ("us-gov-", ("aws-us-gov", "amazonaws.com")))
        return next((found for start, found in special if self._region.startswith(start)), ("aws", "amazonaws.com"))

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
