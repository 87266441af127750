"""The options as keyword arguments, for type checkers and editors; `Options` describes each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from typing_extensions import TypedDict

from anyrerank._core.engine.options import Fuse, OnError, ScoreMode, ScoreScale
from anyrerank._core.limits import Throttle
from anyrerank._core.pricing import Budget, PriceFile
from anyrerank.cache import Cache
from anyrerank.guardrails import Guardrail
from anyrerank.hooks import Hook

if TYPE_CHECKING:
    import httpx
    from pydantic import SecretStr


class ProviderKeywords(TypedDict, total=False):
    """Options of some providers; `anyrerank providers` lists them."""

    additional_model_request_fields: Mapping[str, Any] | None
    cache_salt: str | None
    chat_template_kwargs: Mapping[str, Any] | None
    chunking_options: Mapping[str, Any] | None
    is_iql: bool | None
    max_tokens_per_query: int | None
    mm_processor_kwargs: Mapping[str, Any] | None
    overlap_tokens: int | None
    padding: bool | str | None
    provider: Any
    raw_scores: bool | None
    relevant_spans: bool | Mapping[str, Any] | None
    request_id: str | None
    rewrite_query: bool | None
    scoring_method: str | None
    service_tier: str | None
    task_settings: Mapping[str, Any] | None
    truncate_input_tokens: int | None
    truncate_prompt_tokens: int | None
    truncation_direction: str | None
    truncation_side: str | None
    use_activation: bool | None
    user_labels: Mapping[str, str] | None


class SettingKeywords(TypedDict, total=False):
    """Settings of the connection to some providers; `anyrerank providers` lists them."""

    access_token: str | SecretStr | None
    account_id: str | None
    api_version: str | None
    aws_access_key_id: str | SecretStr | None
    aws_bedrock_runtime_endpoint: str | None
    aws_external_id: str | SecretStr | None
    aws_profile_name: str | None
    aws_region_name: str | None
    aws_role_name: str | None
    aws_secret_access_key: str | SecretStr | None
    aws_session_name: str | None
    aws_session_token: str | SecretStr | None
    aws_web_identity_token: str | SecretStr | None
    azure_ad_token: str | SecretStr | None
    azure_ad_token_provider: Callable[[], str] | None
    azure_key_header: str | None
    device: str | None
    dtype: str | None
    iam_url: str | None
    max_length: int | None
    password: str | SecretStr | None
    project_id: str | None
    space_id: str | None
    threads: int | None
    token: str | SecretStr | None
    username: str | None
    vertex_ai_credentials: Any
    vertex_ai_location: str | None
    vertex_ai_project: str | None
    vertex_credentials: Any
    vertex_location: str | None
    vertex_project: str | None
    vertex_quota_project: str | None
    zen_api_key: str | SecretStr | None


class _PositionalKeywords(TypedDict, total=False):
    """Options that `rerank`, like `litellm.rerank`, also takes by position."""

    top_n: int | None
    rank_fields: Sequence[str] | None
    return_documents: bool | None
    max_chunks_per_doc: int | None
    max_tokens_per_doc: int | None


class KeywordOnly(ProviderKeywords, total=False):
    """Options of a call that `rerank` takes by keyword only."""

    instruction: str | None
    truncate: str | bool | None
    priority: int | None
    score_threshold: float | None
    score_mode: ScoreMode
    score_scale: ScoreScale | None
    user: str | None
    metadata: Mapping[str, Any] | None
    guardrails: Sequence[Guardrail]
    hooks: Sequence[Hook]
    cache: Cache | None
    budget: Budget | Sequence[Budget] | None
    user_budget: Budget | None
    limit: Throttle | None
    timeout: float | str | httpx.Timeout | None
    max_retries: int
    num_retries: int | None
    batch_size: int | None
    max_concurrency: int
    dedupe: bool
    allow_split: bool
    on_error: OnError
    fuse: Fuse | None
    extra_body: Mapping[str, Any] | None
    drop_params: bool
    options: Mapping[str, Any] | None


class CallKeywords(_PositionalKeywords, KeywordOnly, total=False):
    """Options that a call can override."""


class ConnectionKeywords(SettingKeywords, total=False):
    """Options of the connection, which a call cannot override."""

    api_key: str | SecretStr | None
    api_base: str | None
    base_url: str | None
    headers: Mapping[str, str] | None
    extra_headers: Mapping[str, str] | None
    http_client: httpx.Client | httpx.AsyncClient | None
    ssl_verify: bool | str | None
    ssl_certificate: str | tuple[str, str] | None
    max_parallel_requests: int | None
    input_cost_per_query: float | None
    input_cost_per_token: float | None
    prices: PriceFile | None


class RouterCallKeywords(CallKeywords, total=False):
    """Options that a call of a `Router` can override."""

    fallbacks: Sequence[str] | None
