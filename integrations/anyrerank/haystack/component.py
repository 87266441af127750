"""A ranker of Haystack pipelines over any provider."""

from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict
from haystack.utils import Secret, deserialize_secrets_inplace
from pydantic import SecretStr
from typing_extensions import Self

from anyrerank._adapters import as_list
from anyrerank._core.engine import two_values
from anyrerank._core.types import public
from anyrerank.errors import AuthenticationError, BadRequestError
from anyrerank.haystack.documents import TextFunction
from anyrerank.haystack.ranking import Ranking


@component
@public("anyrerank.haystack")
class AnyRerank:
    """Ranks documents with any provider.

    Returns copies of the documents, best first, each with its score. A copy keeps `id`, `meta` and everything else.
    Documents without text come last, with the score `None`; none is left out, except by `top_k` and
    `score_threshold`. Where the model reads images, an image in `blob` is ranked with the content.

    With `on_error="passthrough"`, documents that could not be reranked have the score `None`, and `meta["degraded"]`
    is `True`.

    Example:
        >>> pipeline.add_component("ranker", AnyRerank("cohere/rerank-v3.5", top_k=5))
        >>> pipeline.connect("retriever.documents", "ranker.documents")
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        api_key: Secret | None = None,
        top_k: int | None = None,
        text_fn: TextFunction | None = None,
        **options: Any,
    ) -> None:
        """The constructor sends nothing and needs no key; a missing key is an error of the first call.

        Args:
            model: `provider/model`; required unless `reranker` is given. With a `Router` as `reranker`, one of its
                model names.
            api_key: The key; by default from the environment variables of the provider. The variable of a `Secret` is
                read at each call.
            top_k: How many documents to return; by default all.
            text_fn: Returns the text to rank for a document; by default its content.
            options: Options of `anyrerank.Reranker`, and `keep_retrieval_score`, `model_key`, `reranker`,
                `credentials` and `options` as in `anyrerank.langchain.AnyRerank`.

        Raises:
            BadRequestError: Unknown option, or a value that an option cannot have.
            ConfigurationError: Unknown provider.
        """
        if api_key is not None and not isinstance(api_key, Secret):
            raise BadRequestError(
                f"api_key must be a Secret, got {type(api_key).__name__}: use Secret.from_env_var() or "
                "Secret.from_token() of haystack.utils"
            )
        if top_k is not None:
            if options.get("top_n") not in (None, top_k):
                raise two_values("top_k", "top_n")
            options["top_n"] = top_k
        self._api_key = api_key
        self._ranking = Ranking(model=model, text_fn=text_fn, **options)

    @component.output_types(documents=list[Document])
    def run(self, query: str, documents: list[Document], top_k: int | None = None) -> dict[str, list[Document]]:
        """Rerank `documents`.

        Args:
            query: Must not be blank.
            documents: What a retriever found; an empty list is returned without a request.
            top_k: Overrides that of the component.

        Returns:
            The reranked documents, as `documents`.

        Raises:
            RerankError: As one of the classes in `anyrerank.errors`.
        """
        found = as_list(documents)
        return {"documents": self._ready().reranked(found, query, top_k) if found else []}

    @component.output_types(documents=list[Document])
    async def run_async(
        self, query: str, documents: list[Document], top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """`run`, on the running event loop."""
        found = as_list(documents)
        return {"documents": await self._ready().areranked(found, query, top_k) if found else []}

    def to_dict(self) -> dict[str, Any]:
        """The options that differ from their defaults, with `api_key` as the name of its environment variable.

        `headers`, `credentials`, `hooks`, `cache` and `http_client` are left out.

        Raises:
            ValueError: `api_key` was made by `Secret.from_token()`, which Haystack never writes.
            ConfigurationError: There are guardrails, budgets, limits, a `text_fn`, a `reranker`, a `Reranker` among the
                fallbacks or a `Provider` class, which a dict cannot hold, and without which the copy would behave
                differently; or the query string of `api_base` seems to hold a secret.
        """
        options = self._ranking.dumped()
        if (top_n := options.pop("top_n", None)) is not None:
            options["top_k"] = top_n
        if self._api_key is not None:
            options["api_key"] = self._api_key.to_dict()
        return dict(default_to_dict(self, **options))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The component that `to_dict` wrote."""
        deserialize_secrets_inplace(data["init_parameters"], keys=["api_key"])
        return default_from_dict(cls, data)

    def close(self) -> None:
        """Close the connections of synchronous calls; the next call opens new ones."""
        self._ranking.close()

    async def close_async(self) -> None:
        """Close the connections of calls on the running event loop, and those of synchronous calls."""
        await self._ranking.aclose()

    def _ready(self) -> Ranking:
        """The ranking, with the key as it is now."""
        if self._api_key is not None:
            try:
                key = self._api_key.resolve_value()
            except ValueError as error:
                raise AuthenticationError(f"api_key cannot be read: {error}") from None
            self._ranking.api_key = None if key is None else SecretStr(key)
        return self._ranking
