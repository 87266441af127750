"""Azure AI, Cohere's models in Foundry resources and on serverless endpoints.

Microsoft's pages: https://learn.microsoft.com/azure/ai-foundry/how-to/deploy-models-cohere-rerank. A Foundry resource
serves v2 under `/providers/cohere`, a serverless endpoint v1 (or v2) at its root. Sources disagree on whether Foundry
takes the key as `Authorization: Bearer` or as `api-key`; the first is the default, `azure_key_header="api-key"` the
other. An Entra ID token may stand in for a key.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from typing_extensions import Self, override

from anyrerank._core.runtime import Blocking, Flow, needed
from anyrerank.errors import RerankError
from anyrerank.providers._base import CohereVersions, Setting, endpoint

_FOUNDRY = ".services.ai.azure.com"
_SCOPES = {"foundry": "https://cognitiveservices.azure.com/.default", "serverless": "https://ml.azure.com/.default"}
_KEY_HEADERS = ("authorization", "api-key")


class AzureAi(CohereVersions):
    """The model is the name of the deployment; a serverless v1 endpoint ignores it."""

    prefix = "azure_ai"
    title = "Azure AI"
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
                about="'default' for azure-identity's chain, or a function such as get_bearer_token_provider returns"
            ),
            "azure_key_header": Setting(about="header of the key: 'authorization' (default) or 'api-key'"),
        }
    )

    @property
    @override
    def key_required(self) -> bool:
        return self.chosen("azure_ad_token", "azure_ad_token_provider") is None

    @override
    def check(self) -> None:
        if self._credential is None and not self.has_own_header:
            raise self.locked_out(
                "no API key for Azure AI: pass api_key= or set AZURE_AI_API_KEY; or pass azure_ad_token= or "
                "azure_ad_token_provider='default' (azure-identity's chain)"
            )
        super().check()
        held = self.connection.settings
        if held.get("azure_key_header", "authorization") not in _KEY_HEADERS:
            raise self.misconfigured("azure_key_header is 'authorization' or 'api-key'")
        source = held.get("azure_ad_token_provider", "default")
        if source != "default" and not callable(source):
            raise self.misconfigured("azure_ad_token_provider is 'default' or a function that returns a token")

    @override
    def authorization(self) -> dict[str, str]:
        name = self._credential
        if self.has_own_header or name in (None, "azure_ad_token_provider"):
            return {}
        if name == "azure_ad_token":
            return {"authorization": f"Bearer {self.connection.settings[name]}"}
        key = self.connection.api_key or ""
        in_own_header = self.connection.settings.get("azure_key_header") == "api-key"
        return {"api-key": key} if in_own_header else {"authorization": f"Bearer {key}"}

    @override
    def authorized(self) -> Flow[Self]:
        if self.has_own_header or self._credential != "azure_ad_token_provider":
            return self
        try:
            token = yield Blocking(self._fetch, bounded=True)
        except RerankError:
            raise
        except Exception as error:  # noqa: BLE001  it is the caller's function, or a chain of many libraries
            raise self.locked_out(
                f"no Entra ID token: azure_ad_token_provider raised {type(error).__name__}; call it to see why"
            ) from None
        if inspect.iscoroutine(token):
            token.close()
            raise self.locked_out("azure_ad_token_provider is asynchronous: pass that of azure.identity, not its aio")
        if not (isinstance(token, str) and token.strip() and token.isascii() and token.isprintable()):
            raise self.locked_out("no Entra ID token: the token provider returned none that a header can carry")
        return type(self)(self.connection.holding(azure_ad_token=token, azure_ad_token_provider=None))

    def _fetch(self) -> Any:
        source = self.connection.settings["azure_ad_token_provider"]
        if source == "default":
            source = _token_source(_SCOPES["foundry" if self._is_foundry else "serverless"])
        return source()

    @property
    def _credential(self) -> str | None:
        return self.chosen("api_key", "azure_ad_token", "azure_ad_token_provider")

    @override
    def versioned_url(self, options: Mapping[str, Any]) -> str:
        path = urlsplit(self.base).path.rstrip("/")
        if self._is_foundry and path in ("", "/providers/cohere"):
            return endpoint(self.base, root="/v2" if path else "/providers/cohere/v2")
        return endpoint(self.base)

    @property
    def _is_foundry(self) -> bool:
        return (urlsplit(self.base).hostname or "").endswith(_FOUNDRY)


@lru_cache(maxsize=8)
def _token_source(scope: str) -> Callable[[], str]:
    identity = needed("azure.identity", "azure")
    source: Callable[[], str] = identity.get_bearer_token_provider(identity.DefaultAzureCredential(), scope)
    return source
