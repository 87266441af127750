"""Azure AI: Cohere's models on Foundry resources and on serverless endpoints.

Microsoft's documentation: https://learn.microsoft.com/azure/ai-foundry/how-to/deploy-models-cohere-rerank. A Foundry
resource serves v2 under `/providers/cohere`, a serverless endpoint serves v1 (or v2) at its root. Sources disagree on
whether Foundry expects the key as `Authorization: Bearer` or as `api-key`: the first is the default, and
`azure_key_header="api-key"` selects the second. An Entra ID token can be used instead of a key.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from typing_extensions import Self, override

from anyrerank._core.runtime import Blocking, Flow, check_installed, import_optional
from anyrerank.errors import RerankError
from anyrerank.providers._base import CohereVersions, Setting, endpoint, is_endpoint

_FOUNDRY = re.compile(r".+\.services\.ai\.azure\.(?:com|us|cn)")
_SCOPES = {"foundry": "https://cognitiveservices.azure.com/.default", "serverless": "https://ml.azure.com/.default"}
_OF_OTHER_MODELS = re.compile(r"|/(openai|models|anthropic|api/projects)(/.*)?")
"""Paths that Azure's portal shows for a Foundry resource, under which there is no reranking."""
_SAME_RESOURCE = re.compile(r"(.+)\.(?:cognitiveservices|openai)\.azure\.(com|us|cn)")
_OF_NO_RESOURCE = re.compile(r"ai\.azure\.com|models\.inference\.ai\.azure\.com|.+\.api\.cognitive\.microsoft\.com")
_KEY_HEADERS = ("authorization", "api-key")


class AzureAi(CohereVersions):
    """The model is the name of your deployment. A serverless v1 endpoint ignores it.

    Authenticate with a key, with an Entra ID token, or with a function that returns one.
    """

    prefix = "azure_ai"
    title = "Azure AI"
    key_page = "https://ai.azure.com"
    key_variables = ("AZURE_AI_API_KEY",)
    key_headers = _KEY_HEADERS
    base_variables = ("AZURE_AI_API_BASE",)
    extra = "azure"
    settings = MappingProxyType(
        {
            "azure_ad_token": Setting(
                about="Entra ID token, instead of a key", variables=("AZURE_AD_TOKEN",), secret=True, sent=True
            ),
            "azure_ad_token_provider": Setting(
                about="a function that returns a token, or 'default' for azure-identity's DefaultAzureCredential"
            ),
            "azure_key_header": Setting(about="header that carries the key: 'authorization' (default) or 'api-key'"),
        }
    )

    @property
    @override
    def key_required(self) -> bool:
        return self.select_setting("azure_ad_token", "azure_ad_token_provider") is None

    @override
    def check(self) -> None:
        if self._credential is None and not self.has_auth_header:
            raise self.authentication_error(
                "no API key for Azure AI: pass api_key= or set AZURE_AI_API_KEY; or pass azure_ad_token=, or "
                "azure_ad_token_provider='default' to use azure-identity"
            )
        if self.connection.settings.get("azure_ad_token_provider") == "default":
            check_installed("azure.identity", "azure")
        super().check()
        host = urlsplit(self.base).hostname or ""
        same = _SAME_RESOURCE.fullmatch(host)
        if same or _OF_NO_RESOURCE.fullmatch(host):
            name, domain = same.groups() if same else ("<resource>", "com")
            raise self.configuration_error(
                f"Cohere's models of a Foundry resource are not at {host}: pass "
                f"api_base='https://{name}.services.ai.azure.{domain}'"
            )
        settings = self.connection.settings
        if settings.get("azure_key_header", "authorization") not in _KEY_HEADERS:
            raise self.configuration_error("azure_key_header must be 'authorization' or 'api-key'")
        source = settings.get("azure_ad_token_provider", "default")
        if source != "default" and not callable(source):
            raise self.configuration_error(
                "azure_ad_token_provider must be 'default' or a function that returns a token, "
                f"got {type(source).__name__}"
            )

    @override
    def authorization(self) -> dict[str, str]:
        name = self._credential
        if self.has_auth_header or name in (None, "azure_ad_token_provider"):
            return {}
        if name == "azure_ad_token":
            return {"authorization": f"Bearer {self.connection.settings[name]}"}
        key = self.connection.api_key or ""
        if self.connection.settings.get("azure_key_header") == "api-key":
            return {"api-key": key}
        return {"authorization": f"Bearer {key}"}

    @override
    def authorized(self) -> Flow[Self]:
        if self.has_auth_header or self._credential != "azure_ad_token_provider":
            return self
        try:
            token = yield Blocking(self._fetch_token, bounded=True)
        except RerankError:
            raise
        except Exception as error:  # noqa: BLE001  the caller's function and azure-identity may raise anything
            raise self.authentication_error(
                f"no Entra ID token: azure_ad_token_provider raised {type(error).__name__}; call it to see why"
            ) from None
        if inspect.iscoroutine(token):
            token.close()
            raise self.authentication_error(
                "azure_ad_token_provider must be a synchronous function: use azure.identity, not azure.identity.aio"
            )
        if not (isinstance(token, str) and token.strip() and token.isascii() and token.isprintable()):
            raise self.authentication_error(
                "no Entra ID token: azure_ad_token_provider must return a non-empty string of printable ASCII"
            )
        return type(self)(self.connection.with_settings(azure_ad_token=token, azure_ad_token_provider=None))

    def _fetch_token(self) -> Any:
        source = self.connection.settings["azure_ad_token_provider"]
        if source == "default":
            source = default_token_provider(_SCOPES["foundry" if self._is_foundry else "serverless"])
        return source()

    @property
    def _credential(self) -> str | None:
        return self.select_setting("api_key", "azure_ad_token", "azure_ad_token_provider")

    @override
    def versioned_url(self, options: Mapping[str, Any]) -> str:
        parts = urlsplit(self.base)
        path = parts.path.rstrip("/")
        if self._is_foundry and _OF_OTHER_MODELS.fullmatch(path) and not is_endpoint(path):
            return endpoint(urlunsplit(parts._replace(path="")), root="/providers/cohere/v2")
        if self._is_foundry and path == "/providers/cohere":
            return endpoint(self.base, root="/v2")
        return endpoint(self.base)

    @property
    def _is_foundry(self) -> bool:
        return bool(_FOUNDRY.fullmatch(urlsplit(self.base).hostname or ""))


@lru_cache(maxsize=8)
def default_token_provider(scope: str) -> Callable[[], str]:
    """azure-identity's function that returns a token for `scope`, which it caches and renews."""
    identity = import_optional("azure.identity", "azure")
    provider: Callable[[], str] = identity.get_bearer_token_provider(identity.DefaultAzureCredential(), scope)
    return provider
